"""Model folders, LoRA, recipes and networks beside a model, of a stranger."""

from __future__ import annotations

import json
from typing import Any

from fuzz.case import HERE, MODELS, Case
from fuzz.hostile import blobs
from fuzz.shelf import SD, asked

UNET = "m/unet/diffusion_pytorch_model.safetensors"
VAE = "m/vae/diffusion_pytorch_model.safetensors"
TEXT = "m/text_encoder/model.safetensors"
RUN = ["generate", *asked(SD), "--model", "m"]
KNOWN = ["generate", *asked(SD), "--model", f"{MODELS}/{SD}"]
EVIL: list[list[Any]] = [["text", "m/evil.py", blobs.CODE], ["text", "m/unet/evil.py", blobs.CODE]]


def _model(note: str, *steps: list[Any], codes: tuple[int, ...] = (2,)) -> Case:
    return Case("hostile", [["copy", "m", SD], *EVIL, *steps], RUN, codes=codes, note=note)


def _index(file: str, name: str, *steps: list[Any]) -> list[list[Any]]:
    """Shards whose index names another file for its first tensor."""
    return [["shards", file, [[0, name]]], *steps]


def _pickled(note: str, file: str) -> Case:
    """An index that names a pickle beside shards that look whole."""
    folder = file.rpartition("/")[0]
    return _model(note, *_index(file, "w.bin", blobs.step(f"{folder}/w.bin", blobs.PICKLE)))


OUTSIDE: list[Any] = ["copy", "outside/x.safetensors", "lora.safetensors"]
HUGE = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
LIES: dict[str, bytes] = {
    "a header longer than the file": (2**62).to_bytes(8, "little") + b"{}",
    "a header that is no JSON": blobs.tensors(b"not json"),
    "a header that nests without end": blobs.tensors(b"[" * 200_000),
    "a tensor larger than the file": blobs.tensors(HUGE, bytes(64)),
    "a shape past every number": blobs.tensors(
        {"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "offsets that run backwards": blobs.tensors(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, bytes(4)
    ),
    "offsets below nothing": blobs.tensors(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}
    ),
    "a type that is none": blobs.tensors(
        {"a": {"dtype": "OBJECT", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "a pickle": blobs.PICKLE,
    "nothing": b"",
}
WEIGHTS = [
    _model(f"{place} that holds {note}", blobs.step(file, data))
    for place, file in {"a UNet": UNET, "a text encoder": TEXT}.items()
    for note, data in LIES.items()
]
INDEXES = [
    _pickled("a pickle in a UNet's index", UNET),
    _pickled("a pickle in an autoencoder's index", VAE),
    _pickled("a pickle in a text encoder's index", TEXT),
    *[
        _model(f"{note} in the index of {place}", *_index(file, name, OUTSIDE))
        for place, file in {"a UNet": UNET, "a text encoder": TEXT}.items()
        for note, name in {
            "a file two folders up": "../../outside/x.safetensors",
            "a file by its full path": f"{HERE}/outside/x.safetensors",
            "the passwords": "/etc/passwd",
            "nothing": "",
            "the folder itself": ".",
            "a name with a NUL": "a\x00.safetensors",
        }.items()
    ],
    _model("an index that is no table", *_index(UNET, "x"), ["text", f"{UNET}.index.json", "[]"]),
    _model(
        "an index of a list",
        *_index(UNET, "x"),
        ["json", f"{UNET}.index.json", ["weight_map"], [["a", "b"]]],
    ),
]


def _decoy(note: str, copied: str, argv: list[str], folder: str, *steps: list[Any]) -> Case:
    """Every name of an index that a library or this package might read, one of them honest."""
    whole = f"{folder}/model.safetensors"
    shown = f"{folder}/diffusion_pytorch_model.safetensors"
    first = whole if "encoder" in folder or folder == "e" else shown
    lies = {"metadata": {}, "weight_map": {"a": "w.bin", "b": "w.bin"}}
    laid: list[list[Any]] = [
        ["copy", copied.partition(" ")[0], copied.partition(" ")[2]],
        ["text", f"{first}.index.json", json.dumps(lies)],
        blobs.step(f"{folder}/w.bin", blobs.PICKLE),
        ["copy", f"{folder}/decoy.safetensors", "lora.safetensors"],
    ]
    return Case("hostile", [*laid, *steps], argv, codes=(2,), note=note)


def _honest(name: str) -> str:
    """An index of a decoy that is whole."""
    return json.dumps({"metadata": {}, "weight_map": {"a": name}})


DECOYS = [
    case
    for place, copied, folder, variant, argv in (
        ("a UNet", f"m {SD}", "m/unet", "", RUN),
        ("a text encoder", f"m {SD}", "m/text_encoder", ".fp16", RUN),
        (
            "a ControlNet",
            "c controlnet",
            "c",
            "",
            [
                *KNOWN,
                "--control-image",
                "a.png",
                "--set",
                'conditioning=["text", {name="control", models=["c"]}]',
            ],
        ),
        (
            "an image encoder",
            "e image-encoder",
            "e",
            [
                *KNOWN,
                "--prompt-image",
                "a.png",
                "--set",
                f'conditioning=["text", {{name="image_prompt", path="{MODELS}/ip-adapter.safetensors", '
                'image_encoder="e"}]',
            ],
        ),
    )
    for case in (
        _decoy(
            f"an index beside {place} that is whole", copied, argv, folder, ["picture", "a.png", {}]
        ),
        _decoy(
            f"two indexes of {place}",
            copied,
            argv,
            folder,
            ["picture", "a.png", {}],
            ["copy", f"{folder}/model-00001-of-00001.safetensors", "lora.safetensors"],
            [
                "text",
                f"{folder}/model{variant}.safetensors.index.json",
                _honest("model-00001-of-00001.safetensors"),
            ],
        ),
    )
]
PICKLES = [
    _model(
        "nothing but a pickle",
        ["gone", UNET],
        blobs.step("m/unet/diffusion_pytorch_model.bin", blobs.PICKLE),
    ),
    _model(
        "nothing but a pickled text encoder",
        ["gone", TEXT],
        blobs.step("m/text_encoder/pytorch_model.bin", blobs.PICKLE),
    ),
    Case(
        "hostile",
        [blobs.step("m.ckpt", blobs.PICKLE)],
        ["generate", "a", "--model", "m.ckpt", "--model-config", f"{MODELS}/{SD}"],
        codes=(2,),
        note="a pickled checkpoint",
    ),
    Case(
        "hostile",
        [blobs.step("m.safetensors", blobs.PICKLE)],
        ["generate", "a", "--model", "m.safetensors", "--model-config", f"{MODELS}/{SD}"],
        codes=(2,),
        note="a pickled checkpoint by another name",
    ),
    Case(
        "hostile",
        [
            ["copy", "c", "controlnet"],
            ["shards", "c/diffusion_pytorch_model.safetensors", [[0, "w.bin"]]],
            blobs.step("c/w.bin", blobs.PICKLE),
            ["picture", "a.png", {}],
        ],
        [
            *KNOWN,
            "--control-image",
            "a.png",
            "--set",
            'conditioning=["text", {name="control", models=["c"]}]',
        ],
        codes=(2,),
        note="a pickle in a ControlNet's index",
    ),
    Case(
        "hostile",
        [
            ["copy", "e", "image-encoder"],
            ["shards", "e/model.safetensors", [[0, "w.bin"]]],
            blobs.step("e/w.bin", blobs.PICKLE),
            ["picture", "a.png", {}],
        ],
        [
            *KNOWN,
            "--prompt-image",
            "a.png",
            "--set",
            f'conditioning=["text", {{name="image_prompt", path="{MODELS}/ip-adapter.safetensors", '
            'image_encoder="e"}]',
        ],
        codes=(2,),
        note="a pickle in an image encoder's index",
    ),
    Case(
        "hostile",
        [blobs.step("i.bin", blobs.PICKLE), ["picture", "a.png", {}]],
        [
            *KNOWN,
            "--prompt-image",
            "a.png",
            "--set",
            'conditioning=["text", {name="image_prompt", path="i.bin", '
            f'image_encoder="{MODELS}/image-encoder"}}]',
        ],
        codes=(2,),
        note="a pickled IP-Adapter",
    ),
    Case(
        "hostile",
        [
            ["copy", "v", SD],
            ["gone", "v/vae/diffusion_pytorch_model.safetensors"],
            blobs.step("v/vae/diffusion_pytorch_model.bin", blobs.PICKLE),
        ],
        [
            "train",
            "denoiser",
            "--data",
            f"{MODELS}/data",
            "--autoencoder",
            "v",
            "--out",
            "run",
            "--resolution",
            "16",
            "--steps",
            "1",
        ],
        codes=(2,),
        note="a pickled autoencoder to train with",
    ),
    Case(
        "hostile",
        [
            ["copy", "m", SD],
            ["gone", UNET],
            blobs.step("m/unet/diffusion_pytorch_model.bin", blobs.PICKLE),
        ],
        [
            "train",
            "denoiser",
            "--data",
            f"{MODELS}/data",
            "--autoencoder",
            f"{MODELS}/{SD}",
            "--from-model",
            "m",
            "--out",
            "run",
            "--resolution",
            "16",
            "--steps",
            "1",
        ],
        codes=(2,),
        note="a pickled model to train on",
    ),
]
CONFIGS = [
    _model(
        "a network of a module that it brings",
        ["json", "m/model_index.json", ["unet"], ["evil", "Evil"]],
    ),
    _model(
        "a network that is a function of the system",
        ["json", "m/model_index.json", ["unet"], ["os", "system"]],
    ),
    _model(
        "a tokenizer of a module that it brings",
        ["json", "m/model_index.json", ["tokenizer"], ["evil", "Evil"]],
    ),
    _model(
        "a pipeline of a file that it brings",
        ["text", "m/pipeline.py", blobs.CODE],
        ["json", "m/model_index.json", ["_class_name"], ["pipeline", "Evil"]],
    ),
    _model("a pipeline by a path", ["json", "m/model_index.json", ["_class_name"], "../evil"]),
    _model(
        "a scheduler that is none",
        ["json", "m/scheduler/scheduler_config.json", ["_class_name"], "os.system"],
    ),
    _model("an index that nests without end", ["text", "m/model_index.json", "[" * 200_000]),
    _model("a config that nests without end", ["text", "m/unet/config.json", '{"a":' * 100_000]),
    _model(
        "a network of a billion channels",
        ["json", "m/unet/config.json", ["block_out_channels"], [2**30, 2**30]],
    ),
    _model(
        "a text encoder of a billion words",
        ["json", "m/text_encoder/config.json", ["vocab_size"], 2**31],
    ),
    _model(
        "an index that is a pipe", ["gone", "m/model_index.json"], ["pipe", "m/model_index.json"]
    ),
    _model("an index without end", ["link", "m/model_index.json", "/dev/zero"]),
    _model("weights that are a pipe", ["gone", UNET], ["pipe", UNET]),
    _model("plugins that are Python's", ["text", "m/ldm.toml", 'scheduler = "os:system"\n']),
    _model("a LoRA of the Hub", ["text", "m/ldm.toml", 'loras = ["stranger/lora"]\n']),
    _model(
        "a LoRA up the folders",
        ["copy", "outside/lora.bin", "lora.safetensors"],
        ["text", "m/ldm.toml", 'loras = ["../outside/lora.bin"]\n'],
    ),
]


def _lora(note: str, data: bytes | None = None, *steps: list[Any], scale: str = "") -> Case:
    first = ["copy", "l.safetensors", "lora.safetensors"]
    step = first if data is None else blobs.step("l.safetensors", data)
    argv = [*KNOWN, "--lora", f"l.safetensors{scale}"]
    return Case("hostile", [step, *steps], argv, codes=(2,), note=note)


def _of_names(*names: str) -> bytes:
    table: dict[str, Any] = {}
    for number, name in enumerate(names):
        at = 4 * number
        table[name] = {"dtype": "F32", "shape": [1, 1], "data_offsets": [at, at + 4]}
    return blobs.tensors(table, bytes(4 * len(names)))


KEY = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
LORAS = [
    *[_lora(f"a LoRA that holds {note}", data) for note, data in LIES.items()],
    _lora("a LoRA for paths", _of_names("../../x.lora_A.weight", "../../x.lora_B.weight")),
    _lora("a LoRA for attributes", _of_names("unet.__class__.lora_A.weight")),
    _lora(
        "a LoRA for methods", _of_names("unet.forward.lora_A.weight", "unet.forward.lora_B.weight")
    ),
    _lora("a LoRA of half a pair", _of_names(f"{KEY}.lora_A.weight")),
    _lora("a LoRA of no rank", None, ["tensor", "l.safetensors", 0, "empty"]),
    _lora("a LoRA that misfits", None, ["tensor", "l.safetensors", 0, "misfit"]),
    _lora("a LoRA of a strength that is no number", scale=":nan"),
    _lora("a LoRA of a strength without end", scale=":inf"),
    Case(
        "hostile",
        [blobs.step("l.pt", blobs.PICKLE)],
        [*KNOWN, "--lora", "l.pt"],
        codes=(2,),
        note="a pickled LoRA",
    ),
    Case(
        "hostile",
        [["pipe", "l.safetensors"]],
        [*KNOWN, "--lora", "l.safetensors"],
        codes=(2,),
        note="a LoRA that is a pipe",
    ),
    Case(
        "hostile",
        [["link", "l.safetensors", "/dev/zero"]],
        [*KNOWN, "--lora", "l.safetensors"],
        codes=(2,),
        note="a LoRA without end",
    ),
]


def _recipe(note: str, text: str, *steps: list[Any]) -> Case:
    whole = text if text.startswith("model") else f'model = "{MODELS}/{SD}"\n{text}\n'
    argv = ["generate", *asked(SD), "--recipe", "r.toml"]
    return Case("hostile", [["text", "r.toml", whole], *steps], argv, codes=(2,), note=note)


RECIPES = [
    *[
        _recipe(f"{stage} = {name}", f"{stage} = {json.dumps(name)}")
        for stage in ("scheduler", "guidance", "decoder")
        for name in ("os:system", "builtins.eval", "ldm_core.cli.main:main", "../evil.py")
    ],
    _recipe("a class that is no scheduler", 'scheduler = "diffusers:DiffusionPipeline"'),
    _recipe("a module that is no class", 'scheduler = "diffusers:utils"'),
    _recipe("a private name", 'scheduler = "diffusers:__loader__"'),
    _recipe("an integrator that is none", 'scheduler = "torchdiffeq:__builtins__"'),
    _recipe("a Python object", 'scheduler = { python = "os.system" }'),
    _recipe("an observer of Python's", 'observers = [{ name = "os.system" }]'),
    _recipe("a converter of Python's", 'converters = ["subprocess:run"]'),
    _recipe("a model of the Hub", 'model = "stranger/model"'),
    _recipe("a LoRA of the Hub", 'loras = ["stranger/lora:0.5"]'),
    _recipe("a text that nests without end", "x = " + "[" * 50_000),
    _recipe("a number without end", "num_inference_steps = " + "9" * 50_000),
    _recipe("steps without end", "num_inference_steps = 1000000000000"),
    _recipe("a size without end", "width = 1000000000000"),
    Case(
        "hostile",
        [["pipe", "r.toml"]],
        ["recipe", "check", "r.toml"],
        codes=(2,),
        note="a recipe that is a pipe",
    ),
    Case("hostile", [], ["recipe", "check", "/dev/zero"], codes=(2,), note="a recipe without end"),
    Case(
        "hostile",
        [["pipe", "t.csv"]],
        ["augment", "--table", "t.csv", "--out", "o", *KNOWN[-2:]],
        codes=(2,),
        note="a table that is a pipe",
    ),
    Case(
        "hostile",
        [["link", "t.csv", "/dev/zero"]],
        ["augment", "--table", "t.csv", "--out", "o", *KNOWN[-2:]],
        codes=(2,),
        note="a table without end",
    ),
]
HARMLESS = [
    _model(
        f"{json.dumps(value)[:40]} as {key} of {file}",
        ["json", f"m/{file}", [key], value],
        codes=(0, 2),
    )
    for file in (
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "tokenizer/tokenizer_config.json",
        "scheduler/scheduler_config.json",
    )
    for key, value in {
        "auto_map": {"AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", "evil.Evil"]},
        "_attn_implementation": "stranger/kernel",
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
        "_name_or_path": "stranger/model",
        "custom_pipeline": "evil",
        "tokenizer_class": "evil.Evil",
    }.items()
] + [
    _model(
        "weights that are a link to elsewhere",
        OUTSIDE,
        ["gone", UNET],
        ["link", UNET, f"{MODELS}/{SD}/unet/diffusion_pytorch_model.safetensors"],
        codes=(0, 2),
    ),
    Case(
        "hostile",
        [["copy", "l.safetensors", "lora.safetensors"], ["tensor", "l.safetensors", 1, "huge"]],
        [*KNOWN, "--lora", "l.safetensors"],
        note="a LoRA of huge numbers",
    ),
    Case(
        "hostile",
        [],
        [*KNOWN, "--lora", f"{MODELS}/lora.safetensors:1e30"],
        note="a LoRA of huge strength",
    ),
]
"""What may be left aside, or refused, as long as no code of it runs and nothing is asked for."""
