"""Safetensors files: tensors, headers, bytes, shards, indexes; LoRA; networks beside a model."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fuzz.building import CHANGES
from fuzz.case import HERE, MODELS, Case
from fuzz.kinds.values import numbers, plain_words, values
from fuzz.shelf import SD, asked

FILES = {
    SD: ("unet", "vae", "text_encoder"),
    "sdxl": ("unet", "text_encoder_2"),
    "dit": ("transformer", "vae"),
    "sd-3": ("transformer", "text_encoder_3"),
    "flux-schnell": ("transformer", "text_encoder_2"),
    "pixart-alpha": ("transformer", "text_encoder"),
    "ldm-text": ("unet", "bert"),
    "ldm": ("unet", "vqvae"),
    "ddpm": ("unet",),
}
NAMES = ("diffusion_pytorch_model.safetensors", "model.safetensors")
DTYPES = ["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "X99", "", 7, None]
SHAPES = [[], [0], [1], [2, 2], [-1], [2**40], [2**62, 4], [1] * 70, "x", None, [1.5], [True]]
OFFSETS = [[0, 0], [0, 1], [4, 0], [-4, 0], [0, 2**62], [0], "x", None, [0.5, 4], [8, 12]]
INDEXED = [
    "model.bin",
    "pytorch_model.bin",
    "../../outside/w.safetensors",
    f"{HERE}/outside.safetensors",
    "/etc/passwd",
    "",
    ".",
    "no.safetensors",
    "link.safetensors",
    "diffusion_pytorch_model-00001-of-00002.safetensors",
    7,
    None,
    ["a"],
]


@st.composite
def damages(draw: st.DrawFn, path: str) -> list[list[Any]]:
    """Steps that change a safetensors file."""
    form = draw(st.sampled_from(["tensor", "tensor", "header", "header", "bytes", "metadata"]))
    number = draw(st.integers(0, 40))
    if form == "tensor":
        return [["tensor", path, number, draw(st.sampled_from(sorted(CHANGES)))]]
    if form == "bytes":
        spots = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)).map(list), max_size=4)
        head = st.lists(st.tuples(st.floats(0, 0.02), st.integers(0, 255)).map(list), max_size=4)
        keep = draw(st.sampled_from([1.0, 1.0, 0.999, 0.5, 0.01, 0.0001, 0.0]))
        return [["damage", path, draw(spots | head), keep]]
    if form == "metadata":
        return [["header", path, ["__metadata__"], draw(values)]]
    key = draw(st.sampled_from(["dtype", "shape", "data_offsets", "more", None]))
    pool: Any = {"dtype": DTYPES, "shape": SHAPES, "data_offsets": OFFSETS}.get(str(key))
    if key is None:
        return [["header", path, [str(number)], draw(values)]]
    value = draw(st.sampled_from(pool) if pool else values)
    return [["header", path, [str(number), key], value]]


@st.composite
def models(draw: st.DrawFn) -> Case:
    """A model whose weights were changed, or split with an index that lies."""
    family = draw(st.sampled_from((SD, SD, *FILES)))
    part = draw(st.sampled_from(FILES[family]))
    texts = ("text_encoder", "text_encoder_2", "text_encoder_3")
    file = f"m/{part}/{NAMES[part in texts or part == 'bert']}"
    steps: list[list[Any]] = [["copy", "m", family]]
    if draw(st.integers(0, 3)):
        steps += draw(damages(file))
    else:
        edit = st.tuples(st.integers(0, 40), st.sampled_from(INDEXED) | plain_words).map(list)
        steps += [
            ["copy", "outside.safetensors", "lora.safetensors"],
            ["shards", file, draw(st.lists(edit, max_size=2))],
            ["link", f"m/{part}/link.safetensors", f"{HERE}/outside.safetensors"],
        ]
        index = f"{file}.index.json"
        if not draw(st.integers(0, 3)):
            keys = draw(st.sampled_from([["weight_map"], ["metadata"], ["weight_map", "x"], []]))
            steps.append(["json", index, keys, draw(values)])
    return Case("weights", steps, ["generate", *asked(family), "--model", "m"])


@st.composite
def loras(draw: st.DrawFn) -> Case:
    """A LoRA whose tensors or header were changed, and strengths of every kind."""
    steps: list[list[Any]] = [["copy", "l.safetensors", "lora.safetensors"]]
    for _ in range(draw(st.integers(0, 2))):
        steps += draw(damages("l.safetensors"))
    scale = draw(st.just("") | numbers.map(":{}".format) | plain_words.map(":{}".format))
    scale = scale.replace("\x00", "")
    argv = ["generate", *asked(SD), "--model", f"{MODELS}/{SD}", "--lora", f"l.safetensors{scale}"]
    if not draw(st.integers(0, 4)):
        argv += ["--lora", draw(st.sampled_from(["l.safetensors", f"{MODELS}/lora.safetensors"]))]
    return Case("lora", steps, argv)


@st.composite
def sides(draw: st.DrawFn) -> Case:
    """A ControlNet, an IP-Adapter or a model in one file whose weights were changed."""
    form = draw(st.sampled_from(["control", "adapter", "single"]))
    model = ["--model", f"{MODELS}/{SD}", "--steps", "1", "--seed", "1"]
    steps: list[list[Any]] = [["picture", "a.png", {}]]
    if form == "control":
        steps += [["copy", "c", "controlnet"], *draw(damages(f"c/{NAMES[0]}"))]
        if draw(st.booleans()):
            steps.append(["json", "c/config.json", [draw(plain_words)], draw(values)])
        chosen = 'conditioning=["text", {name="control", models=["c"]}]'
        argv = ["generate", "a", *model, "--set", chosen, "--control-image", "a.png"]
    elif form == "adapter":
        steps += [
            ["copy", "i.safetensors", "ip-adapter.safetensors"],
            *draw(damages("i.safetensors")),
        ]
        chosen = (
            'conditioning=["text", {name="image_prompt", path="i.safetensors", '
            f'image_encoder="{MODELS}/image-encoder"}}]'
        )
        argv = ["generate", "a", *model, "--set", chosen, "--prompt-image", "a.png"]
    else:
        steps += [
            ["copy", "s.safetensors", "single/single.safetensors"],
            *draw(damages("s.safetensors")),
        ]
        argv = ["generate", "a", "--model", "s.safetensors", "--model-config", f"{MODELS}/{SD}"]
        argv += model[2:]
    return Case("side", steps, argv)
