"""Exponential and implicit Runge-Kutta methods, against integrals and equations that are solved
anew, and the order conditions of their papers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import fsolve
from torch import Tensor

from ldm_core.conformance import SCHEDULES
from ldm_core.conformance.gaussian import GaussianData
from ldm_core.conformance.schedulers import end_error, quickening_grid
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import VESchedule, vp_schedule
from ldm_core.numerics.point import Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from ldm_plugins.schedulers.res_5s import _tableau as five_stages
from ldm_plugins.schedulers.shared.exponential_runge_kutta import three_stages, two_stages

VP = vp_schedule()
GRIDS = {name: quickening_grid(schedule, 6)[1:] for name, schedule in SCHEDULES.items()}
"""With a finite log-SNR everywhere."""


def scheduler(name: str, **options: Any) -> Any:
    return with_options(installed().find("scheduler", name).loaded, options)


def network(x: Tensor, point: Point) -> Tensor:
    """An estimate of x0 that bends with x and with the noise."""
    return torch.tanh(x / math.hypot(point.alpha, point.sigma)) + 0.3 * math.atan(
        point.ratio
    ) * torch.cos(x)


def order_on(path: str, walk: Any) -> float:
    """How the error falls from 64 steps to 256, for Gaussians of several deviations."""
    sizes = [n + (path == "flow") for n in (64, 256)]
    coarse, fine = (
        math.hypot(
            *(
                end_error(walk, quickening_grid(SCHEDULES[path], n), GaussianData(std=std))
                for std in (0.3, 0.5, 0.7, 0.9)
            )
        )
        for n in sizes
    )
    return math.log(coarse / fine) / math.log(sizes[1] / sizes[0])


def draws(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(7, generator=generator, dtype=torch.float64) for _ in range(count)]


def moment(power: int, end: float, rate: float) -> float:
    """The integral over v from 0 to the end of rate·exp(-rate·(end - v))·v to the power."""
    value, _ = quad(lambda v: rate * math.exp(-rate * (end - v)) * v**power, 0, end, epsabs=1e-14)
    return value


def stage(
    x: Tensor,
    here: Point,
    point: Point,
    part: tuple[float, float, float],
    line: tuple[Tensor, Tensor | None, float],
    stirred: Tensor,
) -> Tensor:
    """x at a part of a step: by variation of constants along the line through two estimates.

    Args:
        part: where it lies in the step, the step's length in lambda, and eta.
        line: the first estimate, the other and its place, where there is one.
        stirred: the noise there, over sigma.
    """
    c, h, eta = part
    first, other, node = line
    x0 = moment(0, c, (1 + eta) * h) * first
    if other is not None:
        x0 = x0 + moment(1, c, (1 + eta) * h) / node * (other - first)
    kept = point.sigma / here.sigma * math.exp(-eta * c * h)
    return kept * x + point.alpha * x0 + point.sigma * stirred


def seeds(x: Tensor, grid: Grid, nodes: tuple[float, ...], eta: float, noises: Any) -> Tensor:
    """SEEDS-2 with the functions phi, and SEEDS-3, whose stages all integrate a line."""
    for here, there in itertools.pairwise(grid):
        h = there.half_log_snr - here.half_log_snr
        first = network(x, here)
        other, node, before, stirred = None, 0.0, 0.0, torch.zeros_like(x)
        for c in (*nodes, 1.0):
            fall = math.exp(-eta * (c - before) * h)
            if fall < 1:
                stirred = fall * stirred + math.sqrt(1 - fall**2) * next(noises)
            ratio = math.exp(-here.half_log_snr - c * h)
            point = there if c == 1 else grid.schedule.at_ratio(ratio)
            ahead = stage(x, here, point, (c, h, eta), (first, other, node), stirred)
            if c == 1 and before == nodes[-1]:
                break
            other, node, before = network(ahead, point), c, c
        x = ahead
    return x


@pytest.mark.parametrize("path", GRIDS)
@pytest.mark.parametrize(
    ("name", "options", "nodes", "eta"),
    [
        ("res_2s", {}, (0.5,), 0.0),
        ("seeds_2", {"solver_type": "phi_2"}, (0.5,), 1.0),
        ("seeds_2", {"solver_type": "phi_2", "eta": 0.4, "r": 0.8}, (0.8,), 0.4),
        ("seeds_3", {}, (1 / 3, 2 / 3), 1.0),
        ("seeds_3", {"eta": 0.0}, (1 / 3, 2 / 3), 0.0),
    ],
)
def test_the_steps_integrate_lines_by_variation_of_constants(
    name: str, options: dict[str, Any], nodes: tuple[float, ...], eta: float, path: str
) -> None:
    """The integrals by quadrature; the noise of one path, drawn in its order."""
    grid, (x, *noises) = GRIDS[path], draws(30)
    expected = seeds(x, grid, nodes, eta, iter(noises))
    ours = iter(noises)
    found = scheduler(name, **options)(x, grid, network, lambda: next(ours))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_exponential_heun_is_the_published_one(eta: float) -> None:
    """With y = x/alpha, ComfyUI's formula: b2 = phi_2, b1 = phi_1 - phi_2."""
    grid, (x, *noises) = GRIDS["vp"], draws(30)
    ours, theirs = iter(noises), iter(noises)
    name = "exp_heun_2_x0_sde" if eta else "exp_heun_2_x0"
    found = scheduler(name)(x, grid, network, lambda: next(ours))
    y = x / grid[0].alpha
    for here, there in itertools.pairwise(grid):
        h = math.log(here.ratio / there.ratio)
        z = (1 + eta) * h
        fresh = there.ratio * math.sqrt(-math.expm1(-2 * eta * h))
        kept = there.ratio / here.ratio * math.exp(-eta * h) * y
        stirred = fresh * next(theirs) if eta else torch.zeros_like(y)
        x0 = network(here.alpha * y, here)
        ahead = kept - math.expm1(-z) * x0 + stirred
        second = (math.expm1(-z) + z) / z
        x0_ahead = network(there.alpha * ahead, there)
        y = kept + (-math.expm1(-z) - second) * x0 + second * x0_ahead + stirred
    torch.testing.assert_close(found, grid[-1].alpha * y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rate", [0.01, 0.7, 1.3, 4.0])
@pytest.mark.parametrize(
    ("tableau", "order"),
    [
        (two_stages(0.5, "phi_2"), 2),
        (two_stages(1.0, "phi_2"), 2),
        (three_stages(0.5, 1.0), 3),
        (three_stages(1 / 3, 2 / 3), 3),
        (five_stages, 4),
    ],
)
def test_the_tableaux_meet_the_order_conditions(tableau: Any, order: int, rate: float) -> None:
    """Hochbruck & Ostermann 2005, Section 4, for steps of every length: sums of b·c^k are the
    moments of the kernel, to the first power, for order four to the second; and from order three on
    what the stages lack of their own first moments cancels at the end."""

    def phi(k: int, c: float) -> float:
        return moment(k - 1, 1.0, c * rate) / math.factorial(k - 1) / c

    *inner, (_, end) = tableau(phi)
    nodes = [c for c, _ in inner]
    for power in range(1, max(order - 1, 2)):
        total = sum(b * c**power for b, c in zip(end, nodes, strict=True))
        assert total == pytest.approx(moment(power, 1.0, rate), rel=1e-9)
    if order > 2:
        lacks = [
            sum(a * node for a, node in zip(weights, nodes, strict=False)) - moment(1, c, rate)
            for c, weights in inner
        ]
        assert sum(b * lack for b, lack in zip(end, lacks, strict=True)) == pytest.approx(
            0, abs=1e-12
        )


@pytest.mark.parametrize("path", SCHEDULES)
def test_seeds_3_without_noise_is_of_order_three(path: str) -> None:
    assert order_on(path, scheduler("seeds_3", eta=0.0)) > 2.7


METHODS = {
    "gauss_legendre_2s": (
        np.array([[3, 3 - 2 * math.sqrt(3)], [3 + 2 * math.sqrt(3), 3]]) / 12,
        np.array([0.5, 0.5]),
        np.array([3 - math.sqrt(3), 3 + math.sqrt(3)]) / 6,
        4,
    ),
    "radau_iia_2s": (
        np.array([[5, -1], [9, 3]]) / 12,
        np.array([0.75, 0.25]),
        np.array([1 / 3, 1.0]),
        3,
    ),
}
"""Butcher's coefficients, from Hairer & Wanner 1996, and the order."""


def x0_of(y: float, s: float) -> float:
    return math.tanh(y / math.hypot(1, s)) + 0.3 * math.atan(s) * math.cos(y)


@pytest.mark.parametrize("name", METHODS)
def test_many_iterations_solve_the_implicit_equations(name: str) -> None:
    """By a root finder, for the slopes of dy/ds = (y - x0)/s."""
    matrix, weights, nodes, _ = METHODS[name]
    sigmas = [8.0, 5.0, 3.0, 1.5, 0.8]
    y = 3.0
    for here, there in itertools.pairwise(sigmas):
        h = there - here
        places = here + nodes * h

        def residual(k: Any, y: float = y, h: float = h, places: Any = places) -> Any:
            stages = y + h * matrix @ k
            own = [(v - x0_of(v, s)) / s for v, s in zip(stages, places, strict=True)]
            return k - np.array(own)

        start = np.full(2, (y - x0_of(y, here)) / here)
        slopes = fsolve(residual, start, xtol=1e-13)
        assert np.abs(residual(slopes)).max() < 1e-10
        y += h * float(weights @ slopes)
    schedule = VESchedule(0.01, 50.0)
    grid = Grid([schedule.at_ratio(s) for s in sigmas], schedule)
    x = torch.tensor([3.0], dtype=torch.float64)

    def denoise(x: Tensor, point: Point) -> Tensor:
        return torch.tensor([x0_of(float(x), point.sigma)], dtype=torch.float64)

    found = scheduler(name, iterations=60)(x, grid, denoise, None)
    assert float(found) == pytest.approx(y, abs=1e-8)


@pytest.mark.parametrize(
    ("name", "iterations"),
    [("gauss_legendre_2s", 1), ("gauss_legendre_2s", 2), ("radau_iia_2s", 1)],
)
@pytest.mark.parametrize("path", SCHEDULES)
def test_each_iteration_is_worth_an_order(name: str, iterations: int, path: str) -> None:
    walk = scheduler(name, iterations=iterations)
    assert order_on(path, walk) == pytest.approx(iterations + 1, abs=0.3)


@pytest.mark.parametrize(
    ("name", "options", "each"),
    [
        ("gauss_legendre_2s", {}, 7),
        ("radau_iia_2s", {}, 5),
        ("radau_iia_2s", {"iterations": 1}, 3),
        ("res_2s", {}, 2),
        ("res_3s", {}, 3),
        ("res_5s", {}, 5),
        ("seeds_2", {}, 2),
        ("seeds_3", {}, 3),
    ],
)
def test_the_evaluations_of_a_step_are_those_that_its_page_names(
    name: str, options: dict[str, Any], each: int
) -> None:
    count = 0

    def denoise(x: Tensor, point: Point) -> Tensor:
        nonlocal count
        count += 1
        return network(x, point)

    grid, x = GRIDS["flow"], draws(1)[0]
    scheduler(name, **options)(x, grid, denoise, lambda: draws(1)[0])
    assert count == each * (len(grid) - 1)
