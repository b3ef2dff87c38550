"""Where a scheduler that is named leads elsewhere than Diffusers' swap: the closed form says who
is right.

Data is Gaussian with mean 0.7 and standard deviation 0.6, so that the perfect network is known. A
run begins as pipelines begin, with noise or with a noisy picture; the figures are the errors of
mean and standard deviation at the end, as the root of the sum of their squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor

from ldm_core.composition.compose import compose, recompose
from ldm_core.composition.composition import Composition
from ldm_core.conformance import GaussianData
from ldm_core.plugins.registry import installed
from pages import DOCS, table_rows
from swaps import (
    PUBLISHED,
    SWAPS,
    Network,
    Swap,
    first_scale,
    grid_of,
    loop,
    our_scale,
    prepared,
    walk,
)

PAGE = DOCS / "explanation" / "diffusers.md"
DATA = GaussianData(mean=0.7, std=0.6)
SAMPLES = 40_000
Pair = tuple[float, float]
ZERO_SNR = "v, zero terminal SNR"


def perfect(composition: Composition) -> Network:
    """What a network says that knows the data, at the timestep that it is told."""
    info = composition.info

    def network(x: Tensor, t: float) -> Tensor:
        point = info.noise_schedule.at(t)
        return info.prediction_type.from_x0(DATA.denoise(x, point), x, point)

    return network


def scores() -> Tensor:
    """Standard normal numbers, evenly among their quantiles, (1, 1, 1, SAMPLES)."""
    ranks = (torch.arange(SAMPLES, dtype=torch.float64) + 0.5) / SAMPLES
    z = torch.special.ndtri(ranks)[torch.randperm(SAMPLES, generator=seeded())]
    return z.float().reshape(1, 1, 1, -1)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def error(end: Tensor) -> float:
    return math.hypot(float(end.mean()) - DATA.mean, float(end.std()) - DATA.std)


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def of(folder: str, **config: Any) -> Composition:
        published = PUBLISHED[folder]
        path = tmp_path_factory.mktemp("published") / "model"
        written = replace(published, config={**published.config, **config}).written(path)
        return compose({"model": str(written)}, installed())

    return of


def swap(composed: Any, folder: str, name: str, steps: int = 20) -> Pair:
    """From noise, on the same folder."""
    own = composed(folder)
    scheduler = prepared(folder, SWAPS[name], steps, own)
    theirs = loop(scheduler, scores() * first_scale(scheduler), perfect(own), seeded())
    named = recompose(own, {"scheduler": name})
    grid = grid_of(named, steps)
    ours = walk(named, grid, scores() * our_scale(named, grid), perfect(named), seeded())
    return error(theirs), error(ours)


def from_a_picture(composed: Any, name: str, steps: int = 20, strength: float = 0.6) -> Pair:
    """From noisy pictures, part of the way."""
    folder = "SD 1.5"
    named = recompose(composed(folder), {"scheduler": name})
    begin = steps - int(steps * strength)
    scheduler = prepared(folder, SWAPS[name], steps, named)
    clean = DATA.mean + DATA.std * scores().flip(-1)
    noise, at = scores(), scheduler.timesteps[begin : begin + 1]
    theirs = loop(scheduler, scheduler.add_noise(clean, noise, at), perfect(named), seeded(), begin)
    grid = grid_of(named, steps)[begin:]
    x = grid[0].alpha * clean + grid[0].sigma * noise
    return error(theirs), error(walk(named, grid, x, perfect(named), seeded()))


def karras_on_leading(composed: Any) -> Pair:
    """A folder that says both."""
    config = {"use_karras_sigmas": True}
    own = composed("SD 1.5 leading", **config)
    swapped = Swap("EulerDiscreteScheduler", config)
    scheduler = prepared("SD 1.5 leading", swapped, 20, own)
    theirs = loop(scheduler, scores() * first_scale(scheduler), perfect(own), seeded())
    named = recompose(own, {"scheduler": "euler"})
    grid = grid_of(named, 20)
    ours = walk(named, grid, scores() * our_scale(named, grid), perfect(named), seeded())
    return error(theirs), error(ours)


FIGURES: dict[str, Callable[[Any], Pair]] = {
    "PNDM on v, 20 steps": lambda c: swap(c, "SD 2.1 v", "pndm"),
    "DDIM, latents clipped, 20 steps": lambda c: swap(c, "PixArt", "ddim"),
    "DDPM, latents clipped, 20 steps": lambda c: swap(c, "PixArt", "ddpm"),
    "PNDM, linspace, Runge-Kutta start, 20 steps": lambda c: swap(c, "PixArt", "pndm"),
    **{
        f"{what}, zero terminal SNR, 100 steps": partial(
            swap, folder=ZERO_SNR, name=name, steps=100
        )
        for what, name in {
            "DEIS": "deis",
            "DPM-Solver++ single-step": "dpmpp_single",
            "Heun": "heun",
            "KDPM2": "dpm_2",
            "KDPM2 ancestral": "dpm_2_ancestral",
            "LMS": "lms",
            "PNDM": "pndm",
        }.items()
    },
    "LMS from a picture, strength 0.6 of 20 steps": lambda c: from_a_picture(c, "lms"),
    "PNDM from a picture, strength 0.6 of 20 steps": lambda c: from_a_picture(c, "pndm"),
    "Euler, karras on leading, 20 steps": karras_on_leading,
}


@pytest.mark.parametrize("row", FIGURES)
def test_the_page_states_the_errors_measured(composed: Any, row: str) -> None:
    theirs, ours = FIGURES[row](composed)
    print(f"| {row} | {theirs:.2g} | {ours:.2g} |")
    assert ours < 1.05 * theirs
    stated = [float(cell) for cell in table_rows(PAGE, 4)[row][:2]]
    assert stated == [pytest.approx(theirs, rel=0.1), pytest.approx(ours, rel=0.1)]
