"""Seeds alone decide: each of four entries of a batch, with captions of differing length, is what
it is alone, for every family."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import tiny
from ldm_core.errors import LdmWarning
from peers import apart
from tiny.covering import some_of

pytestmark = pytest.mark.usefixtures("small_references")
KINDS = {**tiny.FOLDERS, **tiny.MORE_FOLDERS}
CAPTIONS = ["", "a star", "a blue circle on the green background", "a red star"]
SEEDS = [3, 4, 5, 6]
SIZES = ("width", "height", "frames", "samples")


@pytest.mark.parametrize("kind", some_of(KINDS, 7, 20))
def test_each_of_four_is_what_it_is_alone(kind: str, pipes: Any, tmp_path: Path) -> None:
    given = KINDS[kind].inputs_in(tmp_path)
    size = {name: given[name] for name in SIZES if name in given}
    inputs: dict[str, list[Any]] = {n: [v] * 4 for n, v in given.items() if n not in size}
    if "prompt" in inputs:
        inputs["prompt"] = CAPTIONS
    if "class_label" in inputs:
        inputs["class_label"] = [3, 7, 0, 3]
    call: dict[str, Any] = {**size, "num_inference_steps": 2, "output_type": "latent"}
    pipe = pipes(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LdmWarning)
        four = pipe(**inputs, seed=SEEDS, **call).images
        each = [
            pipe(**{n: values[i] for n, values in inputs.items()}, seed=seed, **call).images[0]
            for i, seed in enumerate(SEEDS)
        ]
    assert max(apart(found, expected) for found, expected in zip(four, each, strict=True)) < 1e-5
    assert min(apart(other, each[0]) for other in each[1:]) > 1e-3
