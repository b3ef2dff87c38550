"""What a part gives that is wrong is its own package's failure, whatever right parts of other
packages it passes through, and what a part writes into is its own."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ldm_core import Pipeline, hookimpl
from ldm_core.contracts import Conditioning, Guidance, RunHooks
from ldm_core.errors import PluginError
from ldm_core.numerics.moves import move
from ldm_core.plugins.registry import Registry, installed


def walk(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    for here, there in pairwise(grid):
        x = move(x, denoise(x, here), here, there)
    return x


def around(denoise: Any) -> Any:
    return lambda x, point: denoise(x, point)


class Hooks(RunHooks):
    def network(self, network: Any) -> Any:
        return lambda call: network(call)

    def denoise(self, denoise: Any) -> Any:
        return lambda x, point: denoise(x, point)


class Around(Conditioning):
    def bind(self, run: Any) -> RunHooks:
        return Hooks()


def narrow(denoise: Any) -> Any:
    return lambda x, point: denoise(x, point)[:, :1]


class Narrow(Guidance):
    def combine(self, outputs: Any, at: Any) -> Any:
        return outputs["positive"][:, :1]


class Right:
    ldm_api = ">=2,<3"

    @hookimpl
    def ldm_schedulers(self, register: Any) -> None:
        register("right", walk)

    @hookimpl
    def ldm_denoisers(self, register: Any) -> None:
        register("right", around)

    @hookimpl
    def ldm_conditioning(self, register: Any) -> None:
        register("right", Around)


class Wrong:
    ldm_api = ">=2,<3"

    @hookimpl
    def ldm_denoisers(self, register: Any) -> None:
        register("wrong", narrow)

    @hookimpl
    def ldm_guidance(self, register: Any) -> None:
        register("wrong", Narrow)


RIGHT: list[dict[str, Any]] = [
    {"scheduler": "right"},
    {"denoisers": ["right"]},
    {"conditioning": ["text", "right"]},
]


@pytest.mark.parametrize("right", RIGHT, ids=lambda choices: next(iter(choices)))
@pytest.mark.parametrize("kind", ["denoiser", "guidance"])
def test_a_wrong_answer_is_of_who_gave_it(kind: str, right: dict[str, Any], folder: Path) -> None:
    registry = Registry()
    registry.plugins += installed().plugins
    registry.add(Right(), "ldm-right", "1.0")
    registry.add(Wrong(), "ldm-wrong", "1.2")
    wrong: dict[str, Any] = {"guidance": "wrong"}
    if kind == "denoiser":
        wrong = {"denoisers": ["wrong", *right.get("denoisers", [])]}
    choices = {**right, **wrong}
    pipe = Pipeline.from_pretrained(folder, registry=registry, num_inference_steps=1, **choices)
    with pytest.raises(PluginError, match=f"the {kind} 'wrong' of the package ldm-wrong 1.2"):
        pipe("star", seed=1)


def notes(x: Any, grid: Any, denoise: Any, noise: Any, *, seen: dict[str, int] = {}) -> Any:  # noqa: B006
    seen["walks"] = seen.get("walks", 0) + 1
    return x * seen["walks"]


class Notes:
    ldm_api = ">=2,<3"

    @hookimpl
    def ldm_schedulers(self, register: Any) -> None:
        register("notes", notes)


def test_a_default_that_a_part_writes_into_stays_in_manifests_and_parts_made_later(
    folder: Path,
) -> None:
    registry = Registry()
    registry.plugins += installed().plugins
    registry.add(Notes(), "ldm-notes", "1.0")
    for _ in range(2):
        pipe = Pipeline.from_pretrained(
            folder, registry=registry, num_inference_steps=1, scheduler="notes"
        )
        (manifest,) = pipe("star", seed=1).manifests
        assert manifest["recipe"]["scheduler"].get("seen", {}) == {}
    assert notes.__kwdefaults__ == {"seen": {}}
