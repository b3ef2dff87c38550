"""DPM-Solver with steps of its own choice: k-diffusion's algorithm step by step, tolerances, the
end that a batch has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ldm_plugins.schedulers.dpm_adaptive as module
from ldm_core import Pipeline
from ldm_core.conformance import SCHEDULES, check_constant_x0, errors_by_steps
from ldm_core.conformance.schedulers import even_grid
from ldm_core.conformance.trace import trace
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import VESchedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed

VE = VESchedule(0.01, 50.0)
GRID = Grid([VE.at_ratio(12.0), VE.at_ratio(0.05), CLEAN], VE)


def scheduler(**options: Any) -> Any:
    return with_options(installed().find("scheduler", "dpm_adaptive").loaded, options)


def network(y: Any, sigma: float, tanh: Any, cos: Any) -> Any:
    return tanh(y / math.hypot(1, sigma)) + 0.3 * math.atan(sigma) * cos(y)


def published(
    y: np.ndarray, order: int, rtol: float, atol: float, pid: tuple[float, float, float]
) -> tuple[np.ndarray, list[float]]:
    """k-diffusion's algorithm in t = -ln(sigma), evaluations that it repeats left out, and where it
    evaluates."""
    asked: list[float] = []
    seen: dict[tuple[float, float], np.ndarray] = {}  # but for rounding

    def eps(y: np.ndarray, t: float) -> np.ndarray:
        key = (round(float(y @ np.arange(len(y))), 7), round(t, 9))
        if key not in seen:
            asked.append(math.exp(-t))
            sigma = math.exp(-t)
            seen[key] = (y - network(y, sigma, np.tanh, np.cos)) / sigma
        return seen[key]

    def sigma(t: float) -> float:
        return math.exp(-t)

    def one(y: np.ndarray, t: float, end: float) -> np.ndarray:
        return y - sigma(end) * math.expm1(end - t) * eps(y, t)

    def two(y: np.ndarray, t: float, end: float, r: float) -> np.ndarray:
        h, e = end - t, eps(y, t)
        s = t + r * h
        inner = eps(y - sigma(s) * math.expm1(r * h) * e, s)
        rise = sigma(end) * math.expm1(h)
        return y - rise * e - rise / (2 * r) * (inner - e)

    def three(y: np.ndarray, t: float, end: float) -> np.ndarray:
        h, e = end - t, eps(y, t)
        s_1, s_2 = t + 1 / 3 * h, t + 2 / 3 * h
        e_1 = eps(y - sigma(s_1) * math.expm1(h / 3) * e, s_1)
        bend = math.expm1(2 * h / 3) / (2 * h / 3) - 1
        u_2 = y - sigma(s_2) * math.expm1(2 * h / 3) * e - sigma(s_2) * 2 * bend * (e_1 - e)
        last = sigma(end) * 1.5 * (math.expm1(h) / h - 1)
        return y - sigma(end) * math.expm1(h) * e - last * (eps(u_2, s_2) - e)

    s, t_end, h, before = -math.log(12.0), -math.log(0.05), 0.05, y
    p, i, d = pid
    powers = ((p + i + d) / order, -(p + 2 * d) / order, d / order)
    errs: list[float] = []
    while s < t_end - 1e-5:
        t = min(t_end, s + h)
        low = one(y, s, t) if order == 2 else two(y, s, t, 1 / 3)
        high = two(y, s, t, 1 / 2) if order == 2 else three(y, s, t)
        delta = np.maximum(atol, rtol * np.maximum(abs(low), abs(before)))
        error = float(np.sqrt(np.mean(((low - high) / delta) ** 2)))
        inverse = 1 / (error + 1e-8)
        errs = errs or [inverse] * 3
        errs[0] = inverse
        factor = 1 + math.atan(math.prod(e**b for e, b in zip(errs, powers, strict=True)) - 1)
        h *= factor
        if factor >= 0.81:
            errs[2], errs[1] = errs[1], errs[0]
            before, y, s = low, high, t
    return y, asked


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize(
    ("rtol", "pid"), [(0.05, (0.0, 1.0, 0.0)), (1e-3, (0.0, 1.0, 0.0)), (1e-3, (0.2, 0.7, 0.1))]
)
def test_it_is_the_algorithm_of_k_diffusion(
    order: int, rtol: float, pid: tuple[float, float, float]
) -> None:
    """One image: the same steps, taken and refused, and the same end."""
    start = np.linspace(-15, 12, 9)
    expected, asked = published(start, order, rtol, rtol / 6, pid)
    points: list[Point] = []

    def denoise(x: Tensor, point: Point) -> Tensor:
        points.append(point)
        return network(x, point.sigma, torch.tanh, torch.cos)

    p, i, d = pid
    options = {"rtol": rtol, "atol": rtol / 6, "pcoeff": p, "icoeff": i, "dcoeff": d}
    x = torch.tensor(start)[None]
    end = scheduler(order=order, **options)(x, GRID[:2], denoise, None)
    assert [point.ratio for point in points] == pytest.approx(asked, rel=1e-6)
    np.testing.assert_allclose(end[0].numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("order", [2, 3])
def test_error_falls_with_the_tolerance(order: int, path: str) -> None:
    errors = [
        errors_by_steps(scheduler(order=order, rtol=t, atol=t), SCHEDULES[path], [10])[0]
        for t in (1e-2, 1e-4, 1e-6)
    ]
    assert errors[2] < errors[1] / 5 < errors[0] / 10


def test_the_grids_points_but_the_ends_are_passed_over() -> None:
    schedule = SCHEDULES["flow"]
    for steps in (3, 30):
        grid = Grid([*even_grid(schedule, steps), CLEAN], schedule)
        asked: list[Point] = []

        def denoise(x: Tensor, point: Point, asked: list[Point] = asked) -> Tensor:
            asked.append(point)
            return torch.tanh(x)

        scheduler()(torch.ones(2, 3, dtype=torch.float64), grid, denoise, None)
        assert asked[0] == grid[0]
        assert asked[1].ratio == pytest.approx(1000)  # by Euler's step, and its own from there
        assert asked[-1] == grid[-2]
        assert not {*grid[1:-2]} & {*asked}


def test_the_shortest_runs_take_eulers_step() -> None:
    schedule = SCHEDULES["flow"]
    grids = [Grid([schedule.at(t), CLEAN], schedule) for t in (500.0, 1000.0)]
    euler = with_options(installed().find("scheduler", "euler").loaded, {})
    x = torch.linspace(-1, 1, 5)[None]
    for one in grids:
        ends = [walk(x, one, lambda x, p: torch.tanh(x), None) for walk in (scheduler(), euler)]
        torch.testing.assert_close(*ends, rtol=0, atol=1e-6)


def test_a_constant_x0_is_reached_exactly() -> None:
    check_constant_x0(scheduler())


def test_the_worst_image_sets_the_step_and_a_lost_one_does_not() -> None:
    ones = torch.ones(3, 4)
    difference = torch.tensor([0.1, 5.0, math.nan])[:, None] * ones
    assert module._worst(difference, ones, ones, (1.0, 1e-9)) == pytest.approx(5.0)
    assert module._worst(math.nan * ones, ones, ones, (1.0, 1e-9)) == 0


def test_a_tolerance_that_cannot_be_met_is_an_error_with_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", 50)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(LdmError, match=r"gave up: it tried 50 steps.*\n.*raise rtol and atol"):
        scheduler(rtol=1e-9, atol=1e-9)(
            torch.ones(1, 2), GRID, lambda x, p: torch.randn(1, 2, generator=generator), None
        )


def test_there_is_no_trace_and_it_runs_in_a_pipeline(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="has no table"):
        trace(scheduler(), GRID)
    out = pipe.replace(scheduler="dpm_adaptive", spacing="trailing")(
        "a red star", seed=1, num_inference_steps=5, output_type="latent"
    )
    assert out.images.isfinite().all()
