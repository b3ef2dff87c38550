"""Every family, scheduler, spacing, guidance, conditioning and converter on this device: the same
latents as on a CPU, all in float32 without TF32."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.plugins.registry import installed
from on_gpu.bench import Bench, Figures, apart, tf32

SCHEDULERS: Mapping[str, Any] = {
    "switch": {"name": "switch", "first": "euler_ancestral", "then": "dpmpp_2m", "at": 0.5},
    "diffusers:": "diffusers:UniPCMultistepScheduler",
    "torchdiffeq:": "torchdiffeq:rk4",
}
"""Those that need more than a name."""
SPACINGS: Mapping[str, Any] = {
    "explicit": {"name": "explicit", "timesteps": [900, 600, 300, 100]},
}
CALL: dict[str, Any] = {"seed": 1, "output_type": "latent", "num_inference_steps": 4}
PROMPTS = ["a red star", "a blue circle"]


class Choices:
    """The same choices on this device and on a CPU."""

    def __init__(self, bench: Bench, source: Path, **choices: Any) -> None:
        self.here = Pipeline.from_pretrained(
            source, device=bench.device, **{"dtype": "float32", **choices}
        )
        self.cpu = Pipeline.from_pretrained(source, device="cpu", **choices)

    def apart(self, choices: Mapping[str, Any], call: Mapping[str, Any]) -> Figures:
        """Distance of the latents, or why both refuse."""
        latents: list[Tensor] = []
        for pipe in (self.here, self.cpu):
            try:
                latents.append(pipe.replace(**choices)(**{**CALL, **call}).images)
            except LdmError as refusal:
                if pipe is self.cpu and latents:
                    raise
                return {"refused": str(refusal).splitlines()[0][:200]}
        return {"cpu": apart(*latents)}


def plugins(kind: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """Each plugin of a kind by its name, as a recipe chooses it."""
    return {p.name: more.get(p.name, p.name) for p in installed().of_kind(kind)}


def lora(folder: Path) -> Path:
    """A LoRA with random weights for the tiny Stable Diffusion folder."""
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    torch.manual_seed(1)
    file = folder / "lora.safetensors"
    down, up = torch.randn(2, 32), torch.randn(32, 2)
    save_file({f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, file)
    return file


def run(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as place, tf32(False):
        families(bench, Path(place))
        named(bench, Path(place))
        inputs(bench, Path(place))


def families(bench: Bench, place: Path) -> None:
    for number, (name, kind) in enumerate(tiny.FOLDERS.items()):

        def family(number: int = number, kind: Any = kind) -> Figures:
            folder = kind.write(place / f"family{number}")
            given = {"seed": [1, 2], **kind.inputs_in(folder)}
            pipes = Choices(bench, folder)
            pictures = {"output_type": "np", **given}
            found = pipes.apart({}, given), pipes.apart({}, pictures)
            return {**found[0], "pictures": found[1]["cpu"]}

        bench.measure(f"family {name}", family)


def named(bench: Bench, place: Path) -> None:
    folder = tiny.write_stable_diffusion(place / "plain")
    weaker = tiny.write_stable_diffusion(place / "weaker", block_out_channels=(8, 16))
    pipes = Choices(bench, folder)
    guidance: Mapping[str, Any] = {
        "autoguidance": {"name": "autoguidance", "model": str(weaker)},
        "composable": {"name": "composable", "prompts": ["a blue circle:0.5", "fog:-0.3"]},
    }
    tables = {
        "scheduler": plugins("scheduler", SCHEDULERS),
        "spacing": plugins("spacing", SPACINGS),
        "guidance": plugins("guidance", guidance),
        "attention": plugins("attention", {}),
    }
    if bench.cuda:
        tables["attention"].pop("xformers")  # a CPU has none; see the stage `kernels`
    for kind, choices in tables.items():
        for name, choice in choices.items():

            def one(kind: str = kind, choice: Any = choice) -> Figures:
                return pipes.apart({kind: choice}, {"prompt": PROMPTS})

            bench.measure(f"{kind} {name}", one)


def inputs(bench: Bench, place: Path) -> None:
    """What a run takes beside a prompt, and what converters do."""
    folder = place / "plain"
    picture, mask = place / "picture.png", place / "mask.png"
    pixels = torch.randint(256, (16, 16, 3), generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.to(torch.uint8).numpy()).save(picture)
    half = Image.new("L", (16, 16))
    half.paste(255, (4, 4, 12, 12))
    half.save(mask)
    control = tiny.write_controlnet(place / "control", folder)
    sketch = tiny.write_t2i_adapter(place / "sketch")
    eyes = tiny.write_image_encoder(place / "eyes")
    adapter = tiny.write_ip_adapter(place / "adapter.safetensors", folder)
    look = {"name": "image_prompt", "path": str(adapter), "image_encoder": str(eyes)}
    boxes = [{"prompt": "a blue circle", "box": [0, 0, 0.5, 1]}]
    cases: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "image": (["text", "image"], {"image": str(picture)}),
        "mask": (["text", "mask"], {"image": str(picture), "mask": str(mask)}),
        "regions": (["regions"], {"regions": boxes}),
        "ControlNet": (
            ["text", {"name": "control", "models": [str(control)]}],
            {"control_image": str(picture)},
        ),
        "T2I-Adapter": (
            ["text", {"name": "control", "models": [str(sketch)]}],
            {"control_image": str(picture)},
        ),
        "image_prompt": (["text", look], {"prompt_image": str(picture)}),
    }
    for name, (conditioning, given) in cases.items():

        def one(conditioning: Any = conditioning, given: Any = given) -> Figures:
            pipes = Choices(bench, folder, conditioning=conditioning)
            return pipes.apart({}, {"prompt": "a red star", **given})

        bench.measure(f"conditioning {name}", one)

    def with_lora() -> Figures:
        pipes, file = Choices(bench, folder), str(lora(place))
        call = {"prompt": PROMPTS}
        plain, changed = pipes.cpu, pipes.cpu.replace(loras=[file])
        moved = apart(*(pipe(**CALL, **call).images for pipe in (changed, plain)))
        return {**pipes.apart({"loras": [file]}, call), "lora_moves": moved}

    bench.measure("converter lora", with_lora)
    for dtype in ("float16", "bfloat16"):

        def stored(dtype: str = dtype) -> Figures:
            pipes = Choices(bench, folder, dtype=dtype, compute_dtype="float32")
            return pipes.apart({}, {"prompt": PROMPTS})

        bench.measure(f"converter stored_weights, {dtype}", stored)

    def chosen_by_itself() -> Figures:
        pipe = Pipeline.from_pretrained(folder)
        return {"device": str(pipe.model.latents_device)}

    bench.measure("device left out", chosen_by_itself)
