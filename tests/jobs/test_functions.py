"""Ready-made pipelines called for each line: the line's call is the one that the function makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.composition import Composition
from ldm_core.contracts import OutputPath
from ldm_core.errors import LdmError
from ldm_core.jobs.functions import LineFunction
from ldm_core.plugins.registry import Plugin, installed
from ldm_core.run.in_batches import in_batches, skipping
from ldm_core.run.output import Output
from ldm_core.run.recording import recorded


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("functions")
    tiny.write_stable_diffusion(place / "text")
    tiny.write_dit(place / "classes")
    tiny.write_ddpm(place / "plain")
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save(place / "noise.png")
    Image.fromarray(noise).resize((40, 24)).save(place / "wide.png")
    return place


def composition(place: Path, model: str) -> Composition:
    return compose({"model": str(place / model), "num_inference_steps": 2}, installed())


def line_function(name: str, **common: Any) -> LineFunction:
    return LineFunction(installed().find("command", name), common)


@pytest.mark.parametrize(
    ("name", "model", "line", "more"),
    [
        ("text-to-image", "text", {"prompt": "a star"}, {}),
        ("text-to-image", "text", {"prompt": "42"}, {"width": 24, "height": 16}),
        ("class-to-image", "classes", {"classes": "3"}, {}),
        ("class-to-image", "classes", {}, {"class_label": 2}),
        ("unconditional", "plain", {}, {}),
        ("image-to-image", "text", {"image": "noise.png", "strength": "0.5"}, {"prompt": ""}),
        ("image-to-image", "text", {"image": "noise.png", "prompt": "a star"}, {}),
        (
            "image-to-image",
            "text",
            {"image": "wide.png", "prompt": "a star"},
            {"width": 16, "height": 16, "guidance_scale": 2.0},
        ),
    ],
)
def test_a_recorded_call_makes_the_functions_pictures(
    place: Path, name: str, model: str, line: dict[str, str], more: dict[str, Any]
) -> None:
    """The oracle is the function itself, called with a pipeline that has weights."""
    parts = composition(place, model)
    pipe = Pipeline.from_composition(parts)
    function = line_function(name)
    assert function.records
    call = function.call(function.own(line, place), {"seed": 5, **more})
    asked = function.recorded(parts, call)
    shared = Pipeline(asked.composition, pipe.weights, pipe.unconverted)
    (output,) = shared.batches_of(asked.call)
    (expected,) = function.outputs(pipe, call)
    assert output.seeds == expected.seeds == [5]
    assert output.manifests == expected.manifests
    assert np.array_equal(output.images[0], expected.images[0])


def test_recording_reads_no_weights(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("ldm_core.run.pipeline.load_model", fail)
    function = line_function("image-to-image")
    own = function.own({"image": "noise.png", "prompt": "a star"}, place)
    asked = function.recorded(composition(place, "text"), function.call(own, {"seed": 1}))
    assert asked.call.inputs["image"] == str(place / "noise.png")


def test_a_line_goes_before_what_holds_for_all(place: Path) -> None:
    function = line_function("image-to-image", image=Path("all.png"), strength=0.25)
    assert function.call({}, {}).options == {"strength": 0.25}
    assert function.call({}, {}).arguments == (Path("all.png"),)
    own = function.own({"image": "noise.png", "strength": "0.75"}, place)
    assert function.call(own, {}).arguments == (place / "noise.png",)
    assert function.call(own, {}).options == {"strength": 0.75}


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("image-to-image", {"prompt": "a star"}, "needs 'image'"),
        ("blend", {"first": "noise.png"}, "needs 'second'"),
        ("image-to-image", {"image": "noise.png", "strength": "much"}, "should be float"),
        ("upscale", {"image": "noise.png", "by": "colours"}, "should be"),
        ("outpaint", {"image": "noise.png", "left": "-3"}, "at least 0"),
        ("text-to-image", {"prompt": "a", "prompts": ["b"]}, "given twice"),
    ],
)
def test_a_line_that_a_function_does_not_take(
    place: Path, name: str, line: dict[str, Any], message: str
) -> None:
    function = line_function(name)
    with pytest.raises(LdmError, match=message):
        function.call(function.own(line, place), {})


def test_a_series_is_no_line() -> None:
    with pytest.raises(LdmError, match="series of pictures that belong together"):
        line_function("interpolate")


def plugin(function: Any) -> Plugin:
    return Plugin("command", "own", "some-package", "", function)


def test_a_function_that_steps_aside_is_no_recording(place: Path) -> None:
    @skipping
    def reads(pipe: Any, **call: Any) -> Iterator[Output]:
        """Needs the weights first."""
        assert pipe.model
        return pipe.batches(**call)

    @skipping
    def nothing(pipe: Any, **call: Any) -> Iterator[Output]:
        """Makes none."""
        return iter(())

    parts = composition(place, "text")
    with pytest.raises(LdmError, match="reads reads the model's weights"):
        recorded(reads, parts, prompt="a star")
    with pytest.raises(LdmError, match="nothing makes its pictures without a call"):
        recorded(nothing, parts, prompt="a star")


def test_a_generator_is_recorded_too(place: Path) -> None:
    @skipping
    def later(pipe: Any, *prompts: str, **call: Any) -> Iterator[Output]:
        """Calls once it is gone through."""
        try:
            yield from pipe.replace(scheduler="ddim").batches(prompt=list(prompts), **call)
        except Exception as error:
            raise AssertionError("a recording is no failure") from error

    asked = recorded(later, composition(place, "text"), "a star", seed=2)
    assert asked.composition.recipe["scheduler"]["name"] == "ddim"
    assert asked.call.inputs == {"prompt": ["a star"]}


def test_a_file_to_write_is_refused(place: Path) -> None:
    @in_batches
    def writes(
        pipe: Any, *prompts: str, log: OutputPath | None = None, **call: Any
    ) -> Iterator[Output]:
        """Writes."""
        return pipe.batches(prompt=list(prompts), **call)

    with pytest.raises(LdmError, match="--log names one file to write"):
        LineFunction(plugin(writes), {"log": Path("a.log")})
    with pytest.raises(LdmError, match="'log' names a file to write"):
        LineFunction(plugin(writes), {}).own({"log": "a.log"}, place)


@pytest.mark.parametrize(
    ("given", "expected"), [("a star", ["a star"]), (["a", "b"], ["a", "b"]), ("42", ["42"])]
)
def test_prompts_are_text(place: Path, given: Any, expected: Sequence[str]) -> None:
    function = line_function("text-to-image")
    key = "prompts" if isinstance(given, list) else "prompt"
    assert list(function.call(function.own({key: given}, place), {}).arguments) == expected
