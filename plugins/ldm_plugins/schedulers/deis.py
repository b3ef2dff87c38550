"""DEIS."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise, Scheduler, of_order
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.dpmpp_steps import orders_of_steps
from ldm_plugins.schedulers.shared.lagrange import lagrange, value
from ldm_plugins.schedulers.shared.noise_estimates import multistep

if TYPE_CHECKING:
    from torch import Tensor


def deis(*, order: Literal[1, 2, 3] = 2, lower_order_final: bool = True) -> Scheduler:
    """Diffusion exponential integrator, multistep in ln(sigma/alpha) (Zhang & Chen 2022,
    arXiv:2204.13902, tAB-DEIS).

    The latest noise estimates are interpolated by a polynomial in ln(sigma/alpha), which is
    integrated over sigma/alpha in closed form. Steps from pure noise, and to none, where the
    logarithm is infinite, are of order one.

    Args:
        order: how many estimates it goes through, 1 to 3; fewer in the first steps.
        lower_order_final: end runs of fewer than 15 steps with order two and one.
    """

    @of_order(order)
    def walk(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
        orders = orders_of_steps(grid, order, lower_order_final)
        return multistep(x, grid, denoise, orders, _weights)

    return walk


@lru_cache(maxsize=4096)
def _weights(points: tuple[Point, ...], there: Point) -> tuple[float, ...]:
    """Mean over exp(u), u = ln(sigma/alpha), from the first point to the end of the step, of each
    Lagrange polynomial in u."""
    if len(points) == 1:
        return (1.0,)
    start = -points[0].half_log_snr
    length = -there.half_log_snr - start
    weights = []
    for polynomial in lagrange([-point.half_log_snr - start for point in points]):
        # By parts: the integral of p·exp is (p - p' + p'' - ...)·exp.
        whole, part = list(polynomial), polynomial
        while len(part) > 1:
            part = [-k * c for k, c in enumerate(part)][1:]
            for k, c in enumerate(part):
                whole[k] += c
        ends = value(whole, length) * math.exp(length) - whole[0]
        weights.append(ends / math.expm1(length))
    return tuple(weights)
