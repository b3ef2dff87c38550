"""Pictures of a stranger, replayed."""

from __future__ import annotations

from typing import Any

from fuzz.case import HERE, MODELS, Case
from fuzz.hostile import blobs
from fuzz.shelf import SD

MADE = f"{SD}.png"
KEPT: list[list[Any]] = [
    ["picture", "kept.gif", {"format": "GIF"}],
    ["picture", "kept.png", {}],
    ["picture", "outside/secret.png", {}],
    ["copy", "outside/lora.safetensors", "lora.safetensors"],
]


def _replay(note: str, name: str, *edits: list[Any], codes: tuple[int, ...] = (2,)) -> Case:
    steps = [*KEPT, ["manifest", "p/p.png", name, list(edits)]]
    return Case("hostile", steps, ["replay", "p/p.png"], codes=codes, note=note)


def _called(note: str, name: str, arguments: list[Any], options: dict[str, Any]) -> Case:
    command = {"name": name, "arguments": arguments, "options": options, "image": 0}
    return _replay(note, MADE, [["command"], command])


def _bomb(note: str, *chunks: bytes) -> Case:
    steps = [blobs.step("p/p.png", blobs.png(16, 16, *chunks))]
    return Case("hostile", steps, ["replay", "p/p.png"], codes=(2,), note=note)


CONTROL = [{"name": "text"}, {"name": "control", "models": ["stranger/control"]}]
ADAPTER = {"name": "image_prompt", "path": "stranger/adapter", "image_encoder": "stranger/e"}
RECIPE = ["recipe"]
REFUSED = [
    _called("a data set", "ldm-core:augment", [], {"out": f"{HERE}/set", "classes": ["3"]}),
    _called("features", "ldm-core:features", [f"{HERE}/p"], {"out": f"{HERE}/f.safetensors"}),
    _called("a training", "ldm-core:train autoencoder", [], {"out": f"{HERE}/run"}),
    _called("no command", "os:system", ["touch pwned"], {}),
    _called("a command by a path", "../../evil", [], {}),
    _called("a command that is no text", ["os", "system"], [], {}),  # type: ignore[arg-type]
    _called(
        "a file elsewhere as an argument",
        "ldm-core:image-to-image",
        [f"{HERE}/outside/secret.png", "a red star"],
        {"seed": 1, "num_inference_steps": 1},
    ),
    _called(
        "a file elsewhere as an option",
        "ldm-core:inpaint",
        [f"{HERE}/p/p.png", "a red star"],
        {"mask": f"{HERE}/outside/secret.png", "seed": 1, "num_inference_steps": 1},
    ),
    _called("an option of the run's own", "ldm-core:generate", ["a"], {"on_step": "os.system"}),
    _called("an output type of the run's own", "ldm-core:generate", ["a"], {"output_type": 7}),
    _called("arguments without end", "ldm-core:generate", ["a"] * 100_000, {"seed": 1}),
    _replay("a model of the Hub", MADE, [["recipe", "model"], "stranger/model"]),
    _replay("a revision of the Hub", MADE, [["recipe", "model"], "stranger/model@main"]),
    _replay("a component of the Hub", MADE, [["recipe", "components"], {"vae": "stranger/vae"}]),
    _replay("configs of the Hub", MADE, [["recipe", "model_config"], "stranger/model"]),
    _replay(
        "a LoRA of the Hub", MADE, [["recipe", "loras"], [{"path": "stranger/lora", "scale": 1.0}]]
    ),
    _replay(
        "a LoRA elsewhere",
        MADE,
        [["recipe", "loras"], [{"path": f"{HERE}/outside/lora.safetensors", "scale": 1.0}]],
    ),
    _replay("a ControlNet of the Hub", MADE, [["recipe", "conditioning"], CONTROL]),
    _replay(
        "an IP-Adapter of the Hub", MADE, [["recipe", "conditioning"], [{"name": "text"}, ADAPTER]]
    ),
    _replay("no plugin", MADE, [["recipe", "scheduler"], {"name": "os:system"}]),
    _replay("a Python object", MADE, [["recipe", "scheduler"], {"python": "os.system"}]),
    _replay("a Python input", MADE, [["inputs", "prompt"], {"python": "os.system"}]),
    _replay("an input that is none", MADE, [["inputs", "__class__"], "x"]),
    _replay("steps without end", MADE, [["num_inference_steps"], 10**12]),
    _replay("a size without end", MADE, [["width"], 2**40], [["height"], 2**40]),
    _replay("a size below nothing", MADE, [["width"], -16]),
    _replay("a seed without end", MADE, [["seed"], 10**400]),
    _replay("an image that is not there", "frame.png", [["command", "image"], 10**9]),
    _replay("frames without end", "frame.png", [["command", "options", "num_images"], 10**9]),
    _replay("no table", MADE, [[], "[1, 2]"]),
    _replay("a text that nests without end", MADE, [[], "[" * 200_000]),
    _replay("a number without end", MADE, [[], '{"format": ' + "9" * 100_000 + "}"]),
    _replay("no text at all", MADE, [[], "\x00\x01"]),
    _bomb("a manifest that unfolds", blobs.itxt(b"ldm", blobs.zeros(300 * 2**20, b" "))),
    _bomb("a manifest twice", blobs.itxt(b"ldm", b"x"), blobs.itxt(b"ldm", b"y")),
    _bomb("a manifest that is no UTF-8", blobs.chunk(b"iTXt", b"ldm\0\0\0\0\0\xff\xfe")),
]
HARMLESS = [
    _replay(
        "an animation over a file",
        "frame.png",
        [["command", "options", "animation"], f"{HERE}/kept.gif"],
        codes=(0, 2),
    ),
    _replay(
        "an animation beside it",
        "frame.png",
        [["command", "options", "animation"], f"{HERE}/p/new.gif"],
        codes=(2,),
    ),
    _replay("versions of everything", MADE, [["versions"], {"x" * 9: "1"}], codes=(0, 2)),
    _replay("a title with marks of a terminal", MADE, [["title"], "\x1b]0;x\x07"], codes=(0, 2)),
    _replay("a finish", MADE, [["finish"], "os.system"], codes=(0, 2)),
]
"""What may be made again without it, or refused, as long as nothing else is written."""
MODEL_ELSEWHERE = f"{MODELS}/{SD}"
