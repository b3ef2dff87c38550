"""What parts of another package do in a run that they may not is said to be theirs, and what they
do to what they are shown changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ldm_core import Pipeline, hookimpl
from ldm_core.contracts import (
    Conditioning,
    Converter,
    Model,
    Phase,
    RunObserver,
    measures,
    sees_run,
)
from ldm_core.errors import LdmError, PluginError
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.plugins.registry import Registry, installed
from ldm_pipelines import evaluate


def huge(schedule: Any, steps: int) -> list[Point]:
    return [replace(schedule.at(schedule.last), sigma=1e300), CLEAN]


def negative(schedule: Any, steps: int) -> list[Point]:
    return [replace(schedule.at(schedule.last), alpha=-0.1), CLEAN]


def sparse(model: Any, x0: Any) -> Any:
    return torch.zeros(len(x0), 3, 16, 16).to_sparse()


def erases(model: Any, data: Any, noise: Any) -> Any:
    return torch.zeros_like(data.zero_())[:, :1]


def writes_into_x(denoise: Any) -> Any:
    def outer(x: Any, point: Point) -> Any:
        x0 = denoise(x, point)
        x.zero_()
        return x0

    return outer


def flips_x_unseen(denoise: Any) -> Any:
    def outer(x: Any, point: Point) -> Any:
        x0 = denoise(x, point)
        x.data.neg_()  # which torch does not count, and whose squares are the same
        return x0

    return outer


@contextmanager
def by_numpy(grid: Any) -> Iterator[Callable[[Any], None]]:
    def tell(step: Any) -> None:
        step.x0.numpy()[:] = 0

    yield tell


class Asks(RunObserver):
    def __init__(self, run: Any) -> None:
        self.run = run

    def step(self, step: Any) -> None:
        self.run.noise()


class Seeds(Asks):
    def step(self, step: Any) -> None:
        self.run.request.seeds[0] = 7


class Paints(RunObserver):
    def finish(self, output: Any) -> None:
        output.images[0].paste(0, (0, 0, 16, 16))
        output.images.clear()
        output.manifests[0].clear()
        output.seeds.clear()


@sees_run
def asks(run: Any) -> RunObserver:
    return Asks(run)


@sees_run
def seeds(run: Any) -> RunObserver:
    return Seeds(run)


@sees_run
def paints(run: Any) -> RunObserver:
    return Paints()


class Scales(Converter):
    phase, lossless = Phase.WEIGHTS, False

    def convert(self, model: Model) -> Model:
        model.parts["unet"].module.conv_in.weight.data.mul_(1.01)  # which torch does not count
        return model


class Nudges(Scales):
    def convert(self, model: Model) -> Model:
        model.parts["unet"].module.conv_in.weight.data.view(-1)[5] += 1e-3
        return model


class Hooks(Converter):
    phase, lossless = Phase.CACHE, True

    def convert(self, model: Model) -> Model:
        model.parts["unet"].module.register_forward_hook(lambda module, given, gave: gave)
        return model


class Black:
    def __call__(self, attn: Any, hidden: Any, *args: Any, **more: Any) -> Any:
        return hidden * 0


def black(model: Model) -> None:
    processors = [m for m in model.parts["unet"].module.modules() if "processor" in vars(m)]
    assert processors
    for module in processors:
        vars(module)["processor"] = Black()


class Processors(Hooks):
    def convert(self, model: Model) -> Model:
        black(model)
        return model


class Pads(Hooks):
    def convert(self, model: Model) -> Model:
        model.parts["unet"].module.conv_in.padding_mode = "circular"
        return model


class Becomes(Hooks):
    def convert(self, model: Model) -> Model:
        unet = model.parts["unet"].module
        unet.__class__ = type("Other", (type(unet),), {})
        return model


class Adapts(Conditioning):
    def adapt(self, model: Model) -> Model:
        black(model)
        return model


class Offers:
    ldm_api = ">=2,<3"

    @hookimpl
    def ldm_spacings(self, register: Any) -> None:
        register("huge", huge)
        register("negative", negative)

    @hookimpl
    def ldm_decoders(self, register: Any) -> None:
        register("sparse", sparse)

    @hookimpl
    def ldm_encoders(self, register: Any) -> None:
        register("erases", erases)

    @hookimpl
    def ldm_denoisers(self, register: Any) -> None:
        register("writes_into_x", writes_into_x)
        register("flips_x", flips_x_unseen)

    @hookimpl
    def ldm_converters(self, register: Any) -> None:
        register("scales", Scales)
        register("nudges", Nudges)
        register("hooks", Hooks)
        register("processors", Processors)
        register("pads", Pads)
        register("becomes", Becomes)

    @hookimpl
    def ldm_conditioning(self, register: Any) -> None:
        register("adapts", Adapts)

    @hookimpl
    def ldm_observers(self, register: Any) -> None:
        register("by_numpy", by_numpy)
        register("asks", asks)
        register("seeds", seeds)
        register("paints", paints)


@pytest.fixture(scope="module")
def registry() -> Registry:
    """A package with all of them beside the others."""
    registry = Registry()
    registry.plugins += installed().plugins
    registry.add(Offers(), "ldm-wrong", "1.2")
    return registry


@pytest.fixture(scope="module")
def beside(folder: Path, registry: Registry) -> Pipeline:
    """A pipeline beside it."""
    return Pipeline.from_pretrained(folder, registry=registry, num_inference_steps=1)


WRONG = {
    "huge": ({"spacing": "huge"}, "should lie between 0 and 3e+38"),
    "negative": ({"spacing": "negative"}, "should lie between 0 and 3e+38"),
    "sparse": ({"decoder": "sparse"}, "it gave one of torch.sparse_coo"),
    "writes_into_x": ({"denoisers": ["writes_into_x"]}, "leaves x as it is, and it wrote into it"),
    "flips_x": ({"denoisers": ["flips_x"]}, "leaves x as it is, and it wrote into it"),
    "by_numpy": ({"observers": ["by_numpy"]}, "it wrote into what it was shown"),
    "asks": ({"observers": ["asks"]}, "asked for noise of the run"),
    "seeds": ({"observers": ["seeds"]}, "does not support item assignment"),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_the_parts_failure(beside: Pipeline, name: str) -> None:
    choices, words = WRONG[name]
    with pytest.raises(PluginError) as caught:
        beside.replace(**choices)("star", seed=1)
    assert f"'{name}' of the package ldm-wrong 1.2 failed" in str(caught.value)
    assert words in str(caught.value)


def test_an_encoder_leaves_what_a_person_gives_it(beside: Pipeline) -> None:
    with pytest.raises(PluginError, match=r"'erases' of the package ldm-wrong 1\.2 .* wrote there"):
        beside.replace(encoder="erases").encode(torch.ones(1, 3, 16, 16), seed=1)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("scales", "the weights unet.conv_in.weight"),
        ("nudges", "the weights unet.conv_in.weight"),
        ("hooks", "the module unet"),
        ("processors", "the module unet."),
        ("pads", "the module unet.conv_in"),
        ("becomes", "the module unet"),
    ],
)
def test_a_converter_that_changes_what_others_share_is_named(
    folder: Path, registry: Registry, name: str, what: str
) -> None:
    with pytest.raises(PluginError, match=f"'{name}' of the package ldm-wrong 1.2") as caught:
        Pipeline.from_pretrained(folder, registry=registry, converters=[name])
    assert f"it changed {what}" in str(caught.value)


def test_a_conditioning_that_changes_what_others_share_is_named(
    folder: Path, registry: Registry
) -> None:
    pipe = Pipeline.from_pretrained(
        folder, registry=registry, conditioning=["text", "adapts"], num_inference_steps=1
    )
    with pytest.raises(PluginError, match="'adapts' of the package ldm-wrong") as caught:
        pipe("star", seed=1)
    assert "it changed the module unet." in str(caught.value)


def test_an_observer_is_shown_pictures_of_its_own(beside: Pipeline) -> None:
    plain = beside("star", seed=1)
    shown = beside.replace(observers=["paints"])("star", seed=1)
    assert shown.seeds == [1]
    assert shown.manifests[0]["seed"] == 1
    assert np.array_equal(shown.images[0], plain.images[0])


def wide(pictures: Any) -> Any:
    return torch.zeros(len(pictures) + 1)


def nothing(pictures: Any) -> Any:
    return torch.full((len(pictures),), torch.nan)


def beyond(pictures: Any) -> Any:
    return torch.full((len(pictures),), 5.0)


def complex_rows(pictures: Any) -> Any:
    return torch.zeros(len(pictures), dtype=torch.complex64)


def paints_them(pictures: Any) -> Any:
    return pictures.zero_().sum((1, 2, 3))


METRICS = {
    "wide": (measures()(wide), "a row for each of the 2 pictures"),
    "nothing": (measures()(nothing), "gives no number (NaN) of 'a'"),
    "beyond": (measures(lowest=0.0, highest=1.0)(beyond), "lies in 0.0 to 1.0, and it is 5"),
    "complex": (measures()(complex_rows), "a row for each of the 2 pictures"),
    "paints": (measures()(paints_them), "leaves pictures as they are"),
    "notes": (measures(note=lambda rows: 5)(lambda pictures: torch.zeros(2)), "is a text, not 5"),
    "figure": (measures(figure=lambda rows: "x")(lambda pictures: torch.zeros(2)), "not 'x'"),
}


class Measures:
    ldm_api = ">=2,<3"

    @hookimpl
    def ldm_metrics(self, register: Any) -> None:
        for name, (metric, _) in METRICS.items():
            register(name, metric)


@pytest.mark.parametrize("name", METRICS)
def test_what_a_metric_gives_is_its_packages_failure(name: str, tmp_path: Path) -> None:
    for file in ("a", "b"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{file}.png")
    registry = Registry()
    registry.add(Measures(), "ldm-wrong", "1.2")
    with pytest.raises(PluginError) as caught:
        evaluate(tmp_path, metrics=[name], registry=registry)
    assert f"the metric '{name}' of the package ldm-wrong 1.2 failed while" in str(caught.value)
    assert METRICS[name][1] in str(caught.value)


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb"])
def test_what_a_metric_says_of_itself_can_be_printed(text: str) -> None:
    with pytest.raises(LdmError, match="is a line to print"):
        measures(unit=text)(wide)
    with pytest.raises(LdmError, match="is a line to print"):
        measures(label=text)(wide)


def test_a_module_in_a_package_that_is_not_there_is_missing() -> None:
    assert measures(needs=("no_such_package.inner", "torch"))(wide).missing == (
        "no_such_package.inner",
    )
