"""What another package's parts do to a model, or give beside what they say, is told as theirs and
not as a matter of the model's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import wrong_model_parts
from ldm_core import Pipeline
from ldm_core.errors import PluginError
from ldm_core.plugins.registry import Registry, installed


@pytest.fixture(scope="module")
def registry() -> Registry:
    both = Registry()
    both.plugins += installed().plugins
    both.models += installed().models
    both.add(wrong_model_parts, "ldm-odd", "1.2")
    return both


@pytest.fixture(scope="module")
def right(folder: Path, registry: Registry) -> Pipeline:
    return Pipeline.from_pretrained(folder, registry=registry, num_inference_steps=1)


def failure(pipe: Pipeline, **choice: Any) -> PluginError:
    with pytest.raises(PluginError) as raised:
        pipe.replace(**choice)("a star", seed=1, output_type="pt")
    return raised.value


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("said", "'unet' is to compute in float64, and it left its weights in float32"),
        ("wide", "'unet' is to compute in float32, and it left its weights in float64"),
        ("meta", "as the unet that it converted computed: RuntimeError: Tensor on device meta"),
        ("half", "failed as the unet that it converted computed: RuntimeError: "),
        ("other", "failed as the unet that it converted computed: AttributeError: "),
    ],
)
def test_a_part_that_a_converter_broke_is_the_converters(
    right: Pipeline, how: str, said: str
) -> None:
    error = failure(right, converters=[{"name": "ldm-odd:odd", "how": how}])
    assert error.message.startswith("the converter 'odd' of the package ldm-odd 1.2 failed ")
    assert said in error.message


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("given", "a Model's parts is a Mapping, and it gave None"),
        ("made", "a Model's normalisation is a Mapping, and it gave None"),
        ("program", "a program is a function that advances, or None where there is none"),
    ],
)
def test_what_a_conditioning_leaves_of_a_model_is_looked_at(
    folder: Path, registry: Registry, how: str, said: str
) -> None:
    pipe = Pipeline.from_pretrained(folder, registry=registry, num_inference_steps=1)
    error = failure(pipe, conditioning=["text", {"name": "ldm-odd:setting", "how": how}])
    assert error.message.startswith("the conditioning 'setting' of the package ldm-odd 1.2 failed ")
    assert said in error.message


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("fewer", "the decoder gave audio for each of 1 images, and 2 were asked for"),
        ("whole", "a decoder of audio gives a tensor of 3 dimensions in floating point"),
    ],
)
def test_what_is_beside_a_medium_is_looked_at(right: Pipeline, how: str, said: str) -> None:
    pipe = right.replace(decoder={"name": "ldm-odd:beside", "how": how})
    with pytest.raises(
        PluginError, match=r"^the decoder 'beside' of the package ldm-odd 1\.2"
    ) as e:
        pipe(["a", "b"], seed=1)
    assert said in e.value.message


def test_what_a_scheduler_asks_the_core_for_of_itself_is_its_own(right: Pipeline) -> None:
    error = failure(right, scheduler="ldm-odd:anew")
    whose = "the scheduler 'anew' of the package ldm-odd 1.2 failed at step 1 of 1: "
    assert error.message.startswith(whose)
    assert "/nonexistent/model" in error.message
