"""Spacings under the names that ComfyUI and RES4LYF give them: their published formulas, and every
length of run from one step to a thousand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ldm_core.conformance.spacings import PATHS
from ldm_core.contracts.spacing import as_spacing, checked
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import FlowSchedule, VESchedule, vp_schedule
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed

NAMES = (
    "bong_tangent",
    "ddim_uniform",
    "kl_optimal",
    "linear_quadratic",
    "sgm_uniform",
    "simple",
)
VP, FLOW, VE = vp_schedule(), FlowSchedule(), VESchedule(0.01, 50.0)
COUNTS = (1, 2, 3, 4, 7, 8, 20, 30, 50, 333)


def spacing(name: str, **options: Any) -> Any:
    return as_spacing(with_options(installed().find("spacing", name).loaded, options)).choose


def times(name: str, steps: int, **options: Any) -> list[float]:
    """Flow's own sigmas, but the last."""
    return [point.sigma for point in spacing(name, **options)(FLOW, steps)[:-1]]


def timesteps(name: str, steps: int) -> list[float]:
    return [point.t for point in spacing(name)(VP, steps)[:-1]]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param(range(1, 1001), id="all", marks=pytest.mark.slow),
        pytest.param([*range(1, 21), 97, 250, 500, 999, 1000], id="some"),
    ],
)
def test_every_run_from_one_step_to_a_thousand(name: str, path: str, lengths: Any) -> None:
    """Strictly falling noise from the noisiest point on, none of it below the training's least,
    and none at the end; from the second timestep on where that is the name's."""
    schedule = PATHS[path]
    least = schedule.at(schedule.first).ratio
    for steps in lengths:
        grid = checked(spacing(name)(schedule, steps), schedule, name)
        assert len(grid) == steps + 1
        assert grid[-1].sigma == 0
        assert grid[-2].ratio >= least * (1 - 1e-9)
        if name != "ddim_uniform":
            assert grid[0].ratio == schedule.at(schedule.last).ratio


@pytest.mark.parametrize("steps", COUNTS)
def test_simple_is_comfyuis(steps: int) -> None:
    """``sigmas[-(1 + int(x · len(sigmas)/steps))]``."""
    table = list(range(1000))
    expected = [table[-(1 + int(x * (1000 / steps)))] for x in range(steps)]
    assert timesteps("simple", steps) == expected
    sigmas = [(i + 1) / 1000 for i in range(1000)]
    flow = [sigmas[-(1 + int(x * (1000 / steps)))] for x in range(steps)]
    assert times("simple", steps) == pytest.approx(flow)


@pytest.mark.parametrize("steps", COUNTS)
def test_sgm_uniform_is_comfyuis(steps: int) -> None:
    """``linspace(start, end, steps + 1)[:-1]``, between timesteps in the logarithm of sigma."""
    expected = np.linspace(999, 0, steps + 1)[:-1]
    assert timesteps("sgm_uniform", steps) == pytest.approx(expected)
    logs = np.log(VP.sigmas / VP.alphas)
    ratios = np.exp(np.interp(expected, np.arange(1000), logs))
    found = [point.ratio for point in spacing("sgm_uniform")(VP, steps)[:-1]]
    assert found == pytest.approx(ratios, rel=1e-9)
    flow = np.linspace(1000, 1, steps + 1)[:-1] / 1000
    assert times("sgm_uniform", steps) == pytest.approx(flow)


@pytest.mark.parametrize("steps", COUNTS)
def test_ddim_uniform_is_comfyuis(steps: int) -> None:
    """Every k-th from the second on; it takes more steps than asked where they do not divide."""
    stride = max(1000 // steps, 1)
    theirs = list(range(1, 1000, stride))[::-1]
    assert timesteps("ddim_uniform", steps) == theirs[-steps:]
    assert len(theirs) >= steps


@pytest.mark.parametrize("steps", COUNTS)
@pytest.mark.parametrize("schedule", [VP, VE], ids=["vp", "ve"])
def test_kl_optimal_is_the_papers(schedule: Any, steps: int) -> None:
    """sigma_i = tan(i/n·atan(sigma_min) + (1 - i/n)·atan(sigma_max))."""
    high, low = schedule.at(schedule.last).ratio, schedule.at(schedule.first).ratio
    shares = np.arange(steps) / max(steps - 1, 1)
    expected = np.tan(shares * np.arctan(low) + (1 - shares) * np.arctan(high))
    found = [point.ratio for point in spacing("kl_optimal")(schedule, steps)[:-1]]
    assert found == pytest.approx(expected, rel=1e-9)


def test_kl_optimal_leaves_pure_noise_where_the_path_ends_there() -> None:
    grid = spacing("kl_optimal")(FLOW, 5)
    assert grid[0].alpha == 0
    low = math.atan(FLOW.at(1).ratio)
    angles = [math.atan2(point.sigma, point.alpha) for point in grid[:-1]]
    assert angles == pytest.approx(np.linspace(math.pi / 2, low, 5), abs=1e-12)
    assert spacing("kl_optimal", sigma_max=9.0)(FLOW, 5)[0].ratio == pytest.approx(9.0)


@pytest.mark.parametrize("steps", [n for n in COUNTS if n > 1])
@pytest.mark.parametrize("options", [{}, {"threshold_noise": 0.1}], ids=str)
def test_linear_quadratic_is_mochis(options: dict[str, float], steps: int) -> None:
    """As Diffusers has it for Mochi 1."""
    from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule

    expected = linear_quadratic_schedule(steps, options.get("threshold_noise", 0.025))
    assert times("linear_quadratic", steps, **options) == pytest.approx(expected, abs=1e-12)


def published_bong(steps: int, slope: float, pivot: float, start: float, end: float) -> list[float]:
    """As RES4LYF has it."""
    high = ((2 / math.pi) * math.atan(-slope * (0 - pivot)) + 1) / 2
    low = ((2 / math.pi) * math.atan(-slope * ((steps - 1) - pivot)) + 1) / 2
    return [
        ((((2 / math.pi) * math.atan(-slope * (x - pivot)) + 1) / 2) - low)
        / (high - low)
        * (start - end)
        + end
        for x in range(steps)
    ]


@pytest.mark.parametrize("steps", [n for n in COUNTS if 1 < n < 100])
@pytest.mark.parametrize("pivots", [(0.6, 0.6), (0.5, 0.7)])
def test_bong_tangent_is_res4lyfs(pivots: tuple[float, float], steps: int) -> None:
    count = steps + 2
    places = [int(count * pivot) for pivot in pivots]
    first = count - (count - int((count * pivots[0] + count * pivots[1]) / 2))
    slope = 0.2 / (count / 40)
    one = published_bong(first, slope, places[0], 1.0, 0.5)
    two = published_bong(count - first, slope, places[1] - first, 0.5, 0.0)
    found = times("bong_tangent", steps, pivot_1=pivots[0], pivot_2=pivots[1])
    assert found == pytest.approx([*one[:-1], *two][:-1], abs=1e-12)


@pytest.mark.parametrize("steps", [2, 3, 11])
@pytest.mark.parametrize("pivot", [0.01, 0.99])
def test_bong_tangent_keeps_both_arcs_at_strange_pivots(pivot: float, steps: int) -> None:
    grid = spacing("bong_tangent", pivot_1=pivot, pivot_2=pivot)(FLOW, steps)
    assert len(checked(grid, FLOW, "bong_tangent")) == steps + 1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linear_quadratic", {"linear_steps": 9}, "9 even steps, and 8 in all"),
        ("linear_quadratic", {"threshold_noise": 0.6}, "more than their share of 8 steps"),
        ("kl_optimal", {"sigma_min": 3.0, "sigma_max": 2.0}, "sigma_min < sigma_max"),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        spacing(name, **options)(FLOW, 8)


@pytest.mark.parametrize("name", ["simple", "ddim_uniform"])
def test_more_steps_than_timesteps_are_refused(name: str) -> None:
    with pytest.raises(LdmError, match="1001"):
        spacing(name)(VP, 1001)
