"""What cases are made from: tiny models of every family, and what belongs to them, written once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SD = "stable-diffusion"
FAMILIES = (
    SD,
    "sd-v-prediction",
    "sd-inpainting",
    "lcm",
    "sdxl",
    "sdxl-refiner",
    "ldm",
    "ldm-text",
    "dit",
    "pixart-alpha",
    "pixart-sigma",
    "sd-3",
    "flux-dev",
    "flux-schnell",
    "ddpm",
)
"""One folder of each kind, by the name that it has on the shelf."""
ASKED: dict[str, list[str]] = {
    "ldm": [],
    "ddpm": [],
    "dit": ["--class-label", "3"],
    "sd-inpainting": ["a red star", "--image", "a.png", "--mask", "m.png"],
    "flux-dev": ["a red star", "--size", "64x64"],
    "flux-schnell": ["a red star", "--size", "64x64"],
}
"""What a person gives a model to draw, where that is not a prompt."""
PROMPT = ["a red star"]


def asked(family: str) -> list[str]:
    """The arguments that make a family draw one picture in one step."""
    return [*ASKED.get(family, PROMPT), "--steps", "1", "--seed", "1"]


def write_shelf(folder: Path) -> Path:
    """Write all of it; see `finish_shelf` for what only a run can make."""
    import tiny
    from tiny.single_file import write_single_file

    for name, kind in tiny.FOLDERS.items():
        kind.write(folder / name.lower().replace(" ", "-"))
    tiny.write_controlnet(folder / "controlnet", folder / SD)
    tiny.write_t2i_adapter(folder / "t2i-adapter")
    tiny.write_image_encoder(folder / "image-encoder")
    tiny.write_ip_adapter(folder / "ip-adapter.safetensors", folder / SD)
    single = folder / "single"
    single.mkdir()
    write_single_file(folder / SD, single / "single.safetensors")
    write_lora(folder / "lora.safetensors")
    write_data(folder / "data")
    return folder


def write_lora(file: Path, rank: int = 2) -> Path:
    """A LoRA in peft's names for the tiny Stable Diffusion."""
    import numpy as np
    from safetensors.numpy import save_file

    rows = np.random.default_rng(5)
    widths = {
        "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q": 32,
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_v": 16,
        "text_encoder.text_model.encoder.layers.1.self_attn.v_proj": 32,
    }
    state: dict[str, Any] = {}
    for name, width in widths.items():
        state[f"{name}.lora_A.weight"] = rows.normal(size=(rank, width)).astype("float32")
        state[f"{name}.lora_B.weight"] = rows.normal(size=(width, rank)).astype("float32")
    save_file(state, file)
    return file


def write_data(folder: Path) -> Path:
    """Four captioned and labelled pictures to train on."""
    from PIL import Image

    folder.mkdir()
    lines = []
    for number, colour in enumerate(("red", "green", "blue", "white")):
        image = Image.new("RGB", (16, 16), colour)
        image.paste("black", (2, 2, 6, 4 + number))
        image.save(folder / f"{number}.png")
        lines.append({"file_name": f"{number}.png", "text": f"a {colour} star", "label": number})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metadata.jsonl").write_text(text)
    return folder


def write_pictures(folder: Path) -> None:
    """A picture and a mask as the inputs of a command."""
    from PIL import Image

    image = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
    image.paste("red", (3, 3, 9, 12))
    image.save(folder / "a.png")
    mask = Image.new("L", (16, 16))
    mask.paste(255, (4, 4, 12, 12))
    mask.save(folder / "m.png")


def runs_of(shelf: Path) -> list[Sequence[str]]:
    """Commands that make what the shelf lacks, in its folder ``made``: a picture of each kind of
    manifest; and that import all that a run of any family needs."""
    sd = ["--model", str(shelf / SD), "--steps", "1", "--seed", "1", "--out"]
    runs: list[Sequence[str]] = [
        ["generate", *asked(family), "--model", str(shelf / family), "--out", f"{family}.made"]
        for family in FAMILIES
    ]
    lora = ["--lora", str(shelf / "lora.safetensors")]
    runs += [
        ["generate", "a red star", *sd, "lora.made", *lora],
        ["interpolate", "a red star", "a blue star", "--num-images", "2", *sd, "frame.made"],
        ["inpaint", "a.png", "a red star", "--mask", "m.png", *sd, "inpainted.made"],
        [
            "augment",
            "--classes",
            "3",
            "--model",
            str(shelf / "dit"),
            "--steps",
            "1",
            "--out",
            "set",
        ],
        ["explain", "--model", str(shelf / SD), "--plot", "plot.png"],
        ["features", str(shelf / "data"), "--model", str(shelf / SD), "--out", "f.safetensors"],
        ["plugins", "list"],
    ]
    return runs


def finish_shelf(shelf: Path, ldm: Any) -> None:
    """Make the pictures that have a manifest.

    Args:
        ldm: ``ldm(argv)`` runs the command line in this process and gives its exit code.
    """
    made = shelf / "made"
    made.mkdir()
    write_pictures(made)
    was = Path.cwd()
    os.chdir(made)
    try:
        for argv in runs_of(shelf):
            code = ldm(list(argv))
            if code != 0:
                raise RuntimeError(f"ldm {' '.join(argv)} ended with {code}")
        for folder in made.glob("*.made"):
            shutil.move(next(folder.glob("*.png")), made / f"{folder.stem}.png")
    finally:
        os.chdir(was)
