"""The sampler that k-diffusion calls dpmpp_3m_sde, in exponential-integrator form from its formula.

With lambda = -ln(sigma) on the axis of x/alpha, and rate = (1 + eta)·h, a step of length h is

    x0 + exp(-rate)·(x - x0) + phi2·slope - phi3·bend,

phi2 and phi3 being 1 - (1 - exp(-rate))/rate and phi2/rate - 1/2. Slope is the derivative, at the
start of the step, of the parabola through the last three estimates, and bend its divided difference
of order two, in units of h; where there are but two estimates, slope is that of their line.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from ldm_core.conformance.schedulers import quickening_grid
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.dpmpp_3m import dpmpp_3m
from ldm_plugins.schedulers.dpmpp_3m_sde import dpmpp_3m_sde

SCHEDULE = vp_schedule()
THEIRS: dict[str, Any] = {"curvature": "half", "solver_type": "heun", "lower_order_final": False}


def network(x: Tensor, sigma: float) -> Tensor:
    """An estimate of x0 that bends with x and with sigma; x on the axis of x/alpha."""
    return torch.tanh(x / math.sqrt(1 + sigma**2)) + 0.3 * math.atan(sigma) * torch.cos(x)


def newton(nodes: list[float], values: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Derivative at the first node, and divided difference of order two, of the parabola (line)."""
    first = (values[1] - values[0]) / (nodes[1] - nodes[0])
    if len(nodes) == 2:
        return first, None
    second = (values[2] - values[1]) / (nodes[2] - nodes[1])
    bend = (second - first) / (nodes[2] - nodes[0])
    return first + bend * (nodes[0] - nodes[1]), bend


def reference(x: Tensor, sigmas: list[float], eta: float, noises: list[Tensor]) -> Tensor:
    estimates: list[Tensor] = []
    for i, (here, there) in enumerate(pairwise(sigmas)):
        estimates.append(network(x, here))
        if there == 0:
            return estimates[-1]
        length = math.log(here / there)
        rate = (1 + eta) * length
        new = estimates[-1] + math.exp(-rate) * (x - estimates[-1])
        if i > 0:
            last = range(i, max(i - 3, -1), -1)
            nodes = [math.log(here / sigmas[k]) / length for k in last]
            slope, bend = newton(nodes, [estimates[k] for k in last])
            phi2 = 1 - (1 - math.exp(-rate)) / rate
            new = new + phi2 * slope
            if bend is not None:
                new = new - (phi2 / rate - 0.5) * bend
        x = new + there * math.sqrt(1 - math.exp(-2 * eta * length)) * noises[i]
    return x


def ve_grid(steps: int) -> Grid:
    """Karras' sigmas (arXiv:2206.00364, Eq. 5) with alpha 1, ending at 0.

    The sampler asks its schedule for no points between them.
    """
    ends = 14.6 ** (1 / 7), 0.03 ** (1 / 7)
    sigmas = [(ends[0] + i / (steps - 1) * (ends[1] - ends[0])) ** 7 for i in range(steps)]
    return Grid([Point(1.0, sigma, sigma) for sigma in (*sigmas, 0.0)], SCHEDULE)


@pytest.mark.parametrize("steps", [3, 12, 30])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("path", ["ve", "vp"])
def test_it_is_that_of_k_diffusion(path: str, eta: float, steps: int) -> None:
    grid = ve_grid(steps) if path == "ve" else quickening_grid(SCHEDULE, steps)
    generator = torch.Generator().manual_seed(0)
    x, *noises = torch.randn(1 + len(grid), 64, generator=generator, dtype=torch.float64)
    ratios = [point.sigma / point.alpha for point in grid]
    expected = reference(x / grid[0].alpha, ratios, eta, noises) * grid[-1].alpha

    def denoise(x: Tensor, point: Point) -> Tensor:
        return network(x / point.alpha, point.sigma / point.alpha)

    def walk(**options: Any) -> Tensor:
        drawn = iter(noises)
        return dpmpp_3m_sde(x, grid, denoise, lambda: next(drawn), eta=eta, **options)

    def apart(ours: Tensor) -> float:
        return float((ours - expected).norm() / expected.norm())

    assert apart(walk(**THEIRS)) < 1e-12
    if steps > 3:
        for other in ({"solver_type": "midpoint"}, {"curvature": "full"}):
            assert apart(walk(**{**THEIRS, **other})) > 1e-9
    if eta == 0:
        assert apart(dpmpp_3m(x, grid, denoise, lambda: x, **THEIRS)) < 1e-12
