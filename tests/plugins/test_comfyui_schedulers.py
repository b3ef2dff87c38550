"""Schedulers that have no paper, or whose code says more than it: their published formulas, on the
axis of y = x/alpha and sigma/alpha, or of a flow and its time."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import FlowSchedule, VESchedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from ldm_plugins.schedulers.shared.adams_bashforth import adams_bashforth

VE, FLOW = VESchedule(0.01, 50.0), FlowSchedule()
SIGMAS = [12.0, 7.0, 4.5, 2.0, 1.1, 0.5, 0.2, 0.0]
TIMES = [1.0, 0.9, 0.75, 0.6, 0.4, 0.3, 0.1, 0.0]


def scheduler(name: str, **options: Any) -> Any:
    return with_options(installed().find("scheduler", name).loaded, options)


def network(y: Any, sigma: float) -> Any:
    return np.tanh(y / math.hypot(1, sigma)) + 0.3 * math.atan(sigma) * np.cos(y)


def on(axis: list[float]) -> Grid:
    schedule = FLOW if axis is TIMES else VE
    points = [FLOW.at(1000 * s) if axis is TIMES else VE.at_ratio(s) for s in axis if s > 0]
    return Grid([*points, CLEAN], schedule)


def found(name: str, axis: list[float], **options: Any) -> Any:
    def denoise(x: Any, point: Point) -> Any:
        return network(x, point.sigma)

    return scheduler(name, **options)(np.linspace(-3, 3, 7), on(axis), denoise, None)


def heunpp2(y: Any, sigmas: list[float]) -> Any:
    """As ComfyUI has it, without churn."""
    end, start = sigmas[-1], sigmas[0]
    for i, (here, there) in enumerate(pairwise(sigmas)):
        d = (y - network(y, here)) / here
        if there == end:
            y = y + d * (there - here)
            continue
        y_2 = y + d * (there - here)
        d_2 = (y_2 - network(y_2, there)) / there
        if sigmas[i + 2] == end:
            w_2 = there / (2 * start)
            mean = d * (1 - w_2) + d_2 * w_2
        else:
            after = sigmas[i + 2]
            y_3 = y_2 + d_2 * (after - there)
            d_3 = (y_3 - network(y_3, after)) / after
            w_2, w_3 = there / (3 * start), after / (3 * start)
            mean = (1 - w_2 - w_3) * d + w_2 * d_2 + w_3 * d_3
        y = y + mean * (there - here)
    return y


@pytest.mark.parametrize("axis", [SIGMAS, TIMES], ids=["ve", "flow"])
def test_heunpp2_is_the_published_one(axis: list[float]) -> None:
    expected = heunpp2(np.linspace(-3, 3, 7), axis)
    np.testing.assert_allclose(found("heunpp2", axis), expected, rtol=1e-10, atol=1e-10)


def test_heunpp2_leaves_pure_noise_of_a_variance_preserving_path_by_eulers_step() -> None:
    """Where sigma/alpha is infinite no weight is; the first finite one takes its place."""
    from ldm_core.numerics.noise_schedule import vp_schedule

    schedule = vp_schedule(rescale_zero_snr=True)
    grid = Grid([*map(schedule.at, (999, 700, 400, 100)), CLEAN], schedule)
    calls: list[float] = []

    def denoise(x: Any, point: Point) -> Any:
        calls.append(point.t)
        return network(x, point.sigma)

    end = scheduler("heunpp2")(np.linspace(-1, 1, 5), grid, denoise, None)
    assert np.isfinite(end).all()
    assert calls[:2] == [999, 700]
    assert calls.count(400) == 2


@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0])
def test_gradient_estimation_is_the_published_one(gamma: float) -> None:
    """As ComfyUI has it, whose last step is Euler's."""
    y, before = np.linspace(-3, 3, 7), None
    for here, there in pairwise(SIGMAS):
        d = (y - network(y, here)) / here
        used = d if before is None or there == 0 else gamma * d + (1 - gamma) * before
        y, before = y + used * (there - here), d
    ours = found("gradient_estimation", SIGMAS, gamma=gamma)
    np.testing.assert_allclose(ours, y, rtol=1e-10, atol=1e-10)
    if gamma == 1:
        np.testing.assert_allclose(ours, found("euler", SIGMAS), rtol=1e-12, atol=1e-12)


def published_ipndm_v(h: list[float]) -> list[float]:
    """The weights of three estimates in the code of arXiv:2312.00094, with its brackets.

    Args:
        h: the step, and those before it, the latest first.
    """
    h_n, h_1, h_2 = h
    third = (1 - h_n / (3 * (h_n + h_1)) * (h_n * (h_n + h_1)) / (h_1 * (h_1 + h_2))) / 2
    first = (2 + h_n / h_1) / 2 + third
    return [first, -(h_n / h_1) / 2 - (1 + h_1 / h_2) * third, third * h_1 / h_2]


def exact_weights(sigmas: list[float], there: float) -> list[float]:
    """Such that polynomials in sigma of lower degree are integrated exactly, by Vandermonde."""
    here, n = sigmas[0], len(sigmas)
    nodes = np.array(sigmas) - here
    moments = [(there - here) ** k / (k + 1) for k in range(n)]
    return list(np.linalg.solve(np.vander(nodes, n, increasing=True).T, moments))


@pytest.mark.parametrize("order", [2, 3, 4])
def test_ipndm_v_weighs_by_adams_and_bashforth_on_uneven_steps(order: int) -> None:
    sigmas = [1.0, 2.0, 4.5, 7.0][:order]
    ours = adams_bashforth(tuple(map(VE.at_ratio, sigmas)), VE.at_ratio(0.3))
    assert ours == pytest.approx(exact_weights(sigmas, 0.3), abs=1e-10)


def test_the_published_weights_of_ipndm_v_are_exact_on_even_steps_alone() -> None:
    even = [3.0, 4.0, 5.0]
    assert published_ipndm_v([-1.0] * 3) == pytest.approx(exact_weights(even, 2.0), abs=1e-12)
    assert published_ipndm_v([-1.0] * 3) == pytest.approx([23 / 12, -16 / 12, 5 / 12])
    uneven = exact_weights([1.0, 2.0, 4.5], 0.3)
    off = np.subtract(published_ipndm_v([-0.7, -1.0, -2.5]), uneven)
    assert np.abs(off).max() > 0.05


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ipndm_v_walks_by_those_weights(order: int) -> None:
    y, slopes = np.linspace(-3, 3, 7), []
    for i, (here, there) in enumerate(pairwise(SIGMAS)):
        slopes.insert(0, (y - network(y, here)) / here)
        used = 1 if there == 0 else min(order, i + 1)
        weights = exact_weights(SIGMAS[i::-1][:used], there)
        mean = sum(w * slope for w, slope in zip(weights, slopes, strict=False))
        y = y + (there - here) * mean
    np.testing.assert_allclose(found("ipndm_v", SIGMAS, order=order), y, rtol=1e-9, atol=1e-9)
