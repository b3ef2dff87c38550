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

from ldm_core import Pipeline, hookimpl
from ldm_core.contracts import RunObserver, sees_run
from ldm_core.errors import PluginError
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.plugins.registry import Registry, installed


def huge(schedule: Any, steps: int) -> list[Point]:
    return [replace(schedule.at(schedule.last), sigma=1e300), CLEAN]


def negative(schedule: Any, steps: int) -> list[Point]:
    return [replace(schedule.at(schedule.last), alpha=-0.1), CLEAN]


def sparse(model: Any, x0: Any) -> Any:
    return torch.zeros(len(x0), 3, 16, 16).to_sparse()


def writes_into_x(denoise: Any) -> Any:
    def outer(x: Any, point: Point) -> Any:
        x0 = denoise(x, point)
        x.zero_()
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
    def ldm_denoisers(self, register: Any) -> None:
        register("writes_into_x", writes_into_x)

    @hookimpl
    def ldm_observers(self, register: Any) -> None:
        register("by_numpy", by_numpy)
        register("asks", asks)
        register("seeds", seeds)
        register("paints", paints)


@pytest.fixture(scope="module")
def beside(folder: Path) -> Pipeline:
    """A pipeline beside a package with all of them."""
    registry = Registry()
    registry.plugins += installed().plugins
    registry.add(Offers(), "ldm-wrong", "1.2")
    return Pipeline.from_pretrained(folder, registry=registry, num_inference_steps=1)


WRONG = {
    "huge": ({"spacing": "huge"}, "should lie between 0 and 3e+38"),
    "negative": ({"spacing": "negative"}, "should lie between 0 and 3e+38"),
    "sparse": ({"decoder": "sparse"}, "it gave one of torch.sparse_coo"),
    "writes_into_x": ({"denoisers": ["writes_into_x"]}, "leaves x as it is, and it wrote into it"),
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


def test_an_observer_is_shown_pictures_of_its_own(beside: Pipeline) -> None:
    plain = beside("star", seed=1)
    shown = beside.replace(observers=["paints"])("star", seed=1)
    assert shown.seeds == [1]
    assert shown.manifests[0]["seed"] == 1
    assert np.array_equal(shown.images[0], plain.images[0])
