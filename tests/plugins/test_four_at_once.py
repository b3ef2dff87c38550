"""Seeds alone decide: each of four entries of a batch, with captions of differing length, is what
it is alone, for every family, and from pictures, videos and sounds of its own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import tiny
from ldm_core.errors import LdmWarning
from peers import apart
from tiny.covering import some_of

pytestmark = pytest.mark.usefixtures("small_references")
KINDS = {**tiny.FOLDERS, **tiny.MORE_FOLDERS, **tiny.OTHER_FOLDERS}
CAPTIONS = ["", "a star", "a blue circle on the green background", "a red star"]
SEEDS = [3, 4, 5, 6]
SIZES = ("width", "height", "frames", "samples")


def four_of(file: Path) -> list[str]:
    """Four files that differ, of a picture's, a mask's or a tensor's kind and size."""
    made = []
    for i in range(4):
        other = file.with_stem(f"{file.stem}-{i}")
        if file.suffix == ".safetensors":
            save_file({name: value * (1 - i / 2) for name, value in load_file(file).items()}, other)
        else:
            with Image.open(file) as shown:
                width, height = shown.size
                if shown.mode == "L":
                    shown.paste(255, (0, 0, width // 2, height - 2 * i))
                    shown.save(other)
                else:
                    pixels = np.random.default_rng(i).integers(256, size=(height, width, 3))
                    Image.fromarray(pixels.astype(np.uint8)).save(other)
        made.append(str(other))
    return made


def apart_alone(pipe: Any, inputs: dict[str, list[Any]], **call: Any) -> float:
    """The largest relative distance of four entries to single runs; no two are the same."""
    call = {"output_type": "latent", **call}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LdmWarning)
        four = pipe(**inputs, seed=SEEDS, **call).images
        each = [
            pipe(**{n: [values[i]] for n, values in inputs.items()}, seed=seed, **call).images[0]
            for i, seed in enumerate(SEEDS)
        ]
    assert min(apart(other, each[0]) for other in each[1:]) > 1e-3
    return max(apart(found, expected) for found, expected in zip(four, each, strict=True))


@pytest.mark.parametrize("kind", some_of(KINDS, 7, 20))
def test_each_of_four_is_what_it_is_alone(kind: str, pipes: Any, tmp_path: Path) -> None:
    given = KINDS[kind].inputs_in(tmp_path)
    size = {name: given[name] for name in SIZES if name in given}
    inputs: dict[str, list[Any]] = {n: [v] * 4 for n, v in given.items() if n not in size}
    if "prompt" in inputs:
        inputs["prompt"] = CAPTIONS
    if "class_label" in inputs:
        inputs["class_label"] = [3, 7, 0, 3]
    for name, (value, *_) in inputs.items():
        if isinstance(value, str) and Path(value).parent == tmp_path:
            inputs[name] = four_of(Path(value))
    assert apart_alone(pipes(kind), inputs, num_inference_steps=2, **size) < 1e-5


@pytest.mark.parametrize(
    ("kind", "beside", "name"),
    [
        ("CogVideoX", [], "video"),
        ("LTX-Video", ["frame_rate"], "video"),
        ("Wan 2.1", [], "video"),
        ("AnimateDiff", [], "video"),
        ("Stable Audio", ["duration"], "audio"),
        ("Stable Audio 3", ["duration"], "audio"),
        pytest.param("LTX-2", ["frame_rate"], "first_frame", marks=pytest.mark.slow),
        pytest.param("Wan 2.2 5B", [], "first_frame", marks=pytest.mark.slow),
    ],
)
def test_each_of_four_goes_on_from_its_own(
    kind: str, beside: list[str], name: str, pipes: Any
) -> None:
    given = KINDS[kind].inputs
    extent = {side: given[side] for side in SIZES if side in given}
    drawn = torch.Generator().manual_seed(1)
    call: dict[str, Any] = {"num_inference_steps": 4, "strength": 0.5, **extent}
    if name == "audio":
        starts = [torch.rand(2, extent["samples"], generator=drawn) * 2 - 1 for _ in SEEDS]
    else:
        shape: tuple[int, ...] = (3, extent["height"], extent["width"])
        if name == "first_frame":  # which is shown at all steps
            del call["strength"]
        else:
            shape = (extent["frames"], *shape)
        starts = [torch.rand(shape, generator=drawn) for _ in SEEDS]
    pipe = pipes(kind).replace(conditioning=["text", *beside, name])
    inputs = {"prompt": CAPTIONS, name: starts}
    assert apart_alone(pipe, inputs, **call) < 1e-5
