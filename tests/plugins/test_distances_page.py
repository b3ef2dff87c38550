"""The page of distances to Diffusers has every kind of folder, and tests for each figure."""

from __future__ import annotations

import re
from pathlib import Path

import diffusers

from distances import INPUTS, KINDS, cells
from without_distance import NONE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "distances.md"
ACROSS = ROOT / "docs" / "reference" / "families-and-schedulers.md"
FIGURE = re.compile(r"\de-\d\d")
SOURCES = Path(diffusers.__file__).parent / "pipelines"
CLASS = re.compile(r"^class (\w+)Pipeline\(.*?(?=^class |\Z)", re.MULTILINE | re.DOTALL)
CALL = re.compile(r"def __call__\(\s*self,?(.*?)\n    \)", re.DOTALL)
TAKEN = {
    "picture": "(control_|ip_adapter_|cond_|mask_)?image|(reference_)?images|conditions"
    "|conditioning_frames",
    "video": "(control_|pose_)?video|(reference_)?conditions",
    "sound": "(src_|reference_)?audio|initial_audio_waveforms",
}
"""Arguments of Diffusers' pipelines, by what they take."""
OTHERWISE_NAMED = {
    **dict.fromkeys(("SD v-prediction", "SD inpainting"), "StableDiffusion(?!XL|3)"),
    "LCM": "LatentConsistencyModel",
    **dict.fromkeys(("SDXL", "SDXL refiner"), "StableDiffusionXL"),
    "LDM": "LDM(?!TextToImage|SuperResolution)",
    "LDM text": "LDMTextToImage",
    "PixArt alpha": "PixArtAlpha",
    "PixArt sigma": "PixArtSigma",
    "SD 3": "StableDiffusion3",
    **{kind: "Flux(?!2|3)" for kind in KINDS if kind.startswith("Flux ")},
    **{kind: "Flux2" for kind in KINDS if kind.startswith("FLUX.2")},
    "Qwen-Image-Edit Plus": "QwenImageEdit",
    "Krea 2 Turbo": "Krea2",
    **dict.fromkeys(("Wan 2.1", "Wan 2.2", "Wan 2.2 5B"), "Wan"),
    **dict.fromkeys(("Wan 2.1 from a frame", "Wan 2.2 from a frame"), "WanImageToVideo"),
    "CogVideoX 1.5": "CogVideoX",
    "CogVideoX from a frame": "CogVideoXImageToVideo",
    "LTX-Video": "LTX(?!2)",
    "LTX-Video from a frame": "LTX(?!2)",
    "LTX-Video 0.9.5": "LTXCondition",
    "LTX-2, its second stage": "LTX2",
    "AnimateDiff by an adapter": "AnimateDiff",
    "Sana": "Sana(ControlNet|PAG)?$",
    "Stable Audio": "StableAudio(?!3)",
    "unCLIP of a picture": "UnCLIP",
    "Stable unCLIP of text": "StableUnCLIP",
    "SD upscaler": "StableDiffusionUpscale",
    "SD latent upscaler": "StableDiffusionLatentUpscale",
}
"""Beginnings of the names of classes of a kind, other than its own without blanks."""


def test_every_kind_and_input_has_a_figure_or_a_reason() -> None:
    heads = [line for line in ACROSS.read_text(encoding="utf-8").splitlines() if line[:3] == "| |"]
    every = {cell.strip() for head in heads for cell in head.split("|")[2:-1]}
    assert {*KINDS} == every
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    reasons = dict(line.split(". ", 1) for line in lines if re.match(r"\d+\. ", line))
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    found = {first: dict(zip(INPUTS, rest, strict=True)) for first, *rest in rows[2:]}
    for kind, asked, cell in cells():
        shown = found[kind][asked]
        if cell == NONE:
            assert shown == "–"
        elif isinstance(cell, str):
            assert reasons[shown.strip("()")].lower() == cell.lower()
        else:
            assert FIGURE.fullmatch(shown)
            assert float(shown) < 1e-4
    assert {*found} == every


def test_the_tests_of_each_figure_are_there() -> None:
    for _, _, cell in cells():
        for name in () if isinstance(cell, str) else cell:
            file, _, test = name.partition("::")
            text = (ROOT / "tests" / "plugins" / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {test.partition('[')[0]}\b", text, re.MULTILINE), name


def test_what_is_said_to_be_taken_by_no_pipeline_is_taken_by_none() -> None:
    """By the arguments in the sources of all classes of Diffusers whose names begin as the kind's
    does."""
    arguments = {
        found[1]: {*re.findall(r"^ {8}(\w+)\s*[:=,]", call[1], re.MULTILINE)}
        for file in SOURCES.rglob("*.py")
        for found in CLASS.finditer(file.read_text(encoding="utf-8"))
        if (call := CALL.search(found[0]))
    }
    for kind, asked, cell in cells():
        name = OTHERWISE_NAMED.get(kind, re.sub("[ -]", "", kind))
        own = {c: names for c, names in arguments.items() if re.match(name, c, re.IGNORECASE)}
        assert own, kind
        if cell == NONE and asked in TAKEN:
            taking = {c for c, names in own.items() for n in names if re.fullmatch(TAKEN[asked], n)}
            assert not taking, f"{kind}, {asked}"
