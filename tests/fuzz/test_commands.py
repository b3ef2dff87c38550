"""Every command once, as a person uses it, under the audit hook: nothing unpickles, no code comes
from a file, no process is started, nothing is written but what was asked for, nobody is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ldm_pipelines
from fuzz.case import HERE, MODELS, Case
from fuzz.conftest import Fuzzer
from fuzz.kinds.commands import commands
from fuzz.shelf import FAMILIES, SD, asked

SHAPES = Path(ldm_pipelines.__file__).parent / "models" / "shapes"

MODEL = ["--model", f"{MODELS}/{SD}", "--steps", "1", "--seed", "1"]
PICTURES: list[list[Any]] = [["picture", "a.png", {}], ["picture", "m.png", {"mode": "L"}]]
TRAIN = ["--data", f"{MODELS}/data", "--out", "run", "--resolution", "16", "--steps", "1"]
TRAIN += ["--batch-size", "2"]
POOL = ["--pool-size", "8", "--pool-steps", "1", "--autoencoder", f"{MODELS}/{SD}"]
RIGHT: dict[str, list[str]] = {
    "generate": ["a red star", *MODEL, "--sheet", "sheet.png"],
    "replay": [f"{MODELS}/made/{SD}.png", "--out", "again", "--allow-files"],
    "show": [f"{MODELS}/made/{SD}.png"],
    "explain": [*MODEL[:4], "--plot", "x.svg"],
    "tune": ["a red star", *MODEL[:4], "--only", "chunked", "--rounds", "1", "--out", "t.toml"],
    "converge": ["a red star", *MODEL[:2], "--steps", "1,2", "--reference", "4", "--end", "0"],
    "text-to-image": ["a red star", *MODEL],
    "class-to-image": ["3", "--model", f"{MODELS}/dit", "--steps", "1"],
    "unconditional": ["--model", f"{MODELS}/ddpm", "--steps", "1"],
    "image-to-image": ["a.png", "a red star", *MODEL, "--strength", "1"],
    "inpaint": ["a.png", "a red star", "--mask", "m.png", *MODEL],
    "outpaint": ["a.png", "a red star", "--left", "8", *MODEL],
    "interpolate": ["a", "b", "--num-images", "2", "--film", "x.gif", *MODEL],
    "blend": ["a.png", "a.png", *MODEL],
    "invert": ["a.png", "a red star", "--edit", "a blue star", *MODEL],
    "restore": ["a.png", "a red star", "--strength", "1", *MODEL],
    "upscale": ["a.png", "a red star", "--strength", "1", *MODEL],
    "compare": [
        *("a red star", *MODEL[:2], "--over", "steps=1,2", "--over", "scheduler=ddim,euler"),
        *("--against", "steps=1,scheduler=ddim", "--out", "out", "--table", "out/t.csv"),
        *("--sheet", "s.png", "--page", "p.html"),
    ],
    "features": [f"{MODELS}/data", *MODEL[:2], "--out", "f.safetensors"],
    "augment": ["--classes", "3", "--model", f"{MODELS}/dit", "--steps", "1", "--out", "set"],
    "evaluate": ["a.png", "--against", "m.png", "--metrics", "psnr"],
    "plugins list": [],
    "plugins show": ["euler"],
    "plugins find": ["Euler a"],
    "plugins new": ["ldm-mine", "--kind", "spacing", "--dir", "new"],
    "models list": ["--json"],
    "recipe check": ["r.toml"],
    "train autoencoder": [*TRAIN, "--latent-channels", "4"],
    "train denoiser": [*TRAIN, *POOL],
    "train transformer": [*TRAIN, *POOL, "--width", "32", "--layers", "1"],
}
"""What each command is given; a new command needs a line here."""
RECIPE = ["text", "r.toml", f'model = "{MODELS}/{SD}"\nscheduler = "dpmpp_2m"\n']
LOADED: dict[str, list[str]] = {
    **{f"family {name}": [*asked(name), "--model", f"{MODELS}/{name}"] for name in FAMILIES},
    "the model that ships": ["a large red circle", "--steps", "1", "--seed", "1"],
    "a LoRA": ["a", *MODEL, "--lora", f"{MODELS}/lora.safetensors"],
    "a model in one file": [
        "a",
        "--model",
        f"{MODELS}/single/single.safetensors",
        "--model-config",
        f"{MODELS}/{SD}",
        *MODEL[2:],
    ],
    "a ControlNet": [
        "a",
        *MODEL,
        "--control-image",
        "a.png",
        "--set",
        f'conditioning=["text", {{name="control", models=["{MODELS}/controlnet"]}}]',
    ],
    "a T2I-Adapter": [
        "a",
        *MODEL,
        "--control-image",
        "a.png",
        "--set",
        f'conditioning=["text", {{name="control", models=["{MODELS}/t2i-adapter"]}}]',
    ],
    "an IP-Adapter": [
        "a",
        *MODEL,
        "--prompt-image",
        "a.png",
        "--set",
        'conditioning=["text", {name="image_prompt", '
        f'path="{MODELS}/ip-adapter.safetensors", image_encoder="{MODELS}/image-encoder"}}]',
    ],
}
"""Everything that weights are read from."""


def _done(case: Case, fuzzer: Fuzzer) -> None:
    [(code, faults, message)] = fuzzer.run([case])
    assert (code, faults) == (0, []), message


OF_MEDIA = {
    *("text-to-video", "image-to-video", "video-to-video", "text-to-audio", "audio-to-audio"),
    "two-stages",
}
"""Those that need a model of videos or sounds, see tests/core/test_media_commands.py and
tests/plugins/test_second_stage.py."""


def test_every_command_is_here() -> None:
    assert {" ".join(words) for words, _ in commands()} - OF_MEDIA == {*RIGHT}


@pytest.mark.parametrize("name", RIGHT)
def test_a_command_does_what_it_says_and_nothing_else(name: str, fuzzer: Fuzzer) -> None:
    argv = [*name.split(), *RIGHT[name]]
    _done(Case("command", [*PICTURES, RECIPE], argv, codes=(0,), seconds=60), fuzzer)


@pytest.mark.parametrize("name", LOADED)
def test_nothing_that_is_loaded_brings_code(name: str, fuzzer: Fuzzer) -> None:
    _done(Case("command", PICTURES, ["generate", *LOADED[name]], codes=(0,), seconds=60), fuzzer)


def test_a_training_from_a_model_reads_it_and_no_more(fuzzer: Fuzzer) -> None:
    argv = ["train", "autoencoder", *TRAIN, "--from-model", str(SHAPES)]
    _done(Case("command", [], argv, codes=(0,), seconds=60), fuzzer)


def test_its_own_folder_by_its_full_name_is_a_folder_that_was_asked_for(fuzzer: Fuzzer) -> None:
    argv = ["generate", "a red star", *MODEL, "--out", f"{HERE}/out"]
    _done(Case("command", [], argv, codes=(0,)), fuzzer)
