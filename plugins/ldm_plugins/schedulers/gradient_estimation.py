"""Gradient estimation."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, of_order, starts_with
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.noise_estimates import Weights, multistep
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor


@starts_with(karras_start)
@of_order(1)
def gradient_estimation(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    gamma: Annotated[float, Field(ge=1, le=5)] = 2.0,
) -> Tensor:
    """Euler's steps by gamma·e + (1 - gamma)·(the e before it), where e is the noise estimate
    (Permenter & Yuan 2023, arXiv:2306.04848, the gradient-estimation sampler).

    The first step, the one after pure noise (alpha = 0), and that to no noise are Euler's. One
    evaluation a step.

    Args:
        gamma: 1 is Euler, 2 the authors' choice, 1.5 of order two on steps that are even in
            sigma/alpha.
    """
    orders = [2] * (len(grid) - 1)
    if orders and grid[-1].sigma == 0:
        orders[-1] = 1
    return multistep(x, grid, denoise, orders, _weights(gamma))


@lru_cache
def _weights(gamma: float) -> Weights:
    def weights(points: tuple[Point, ...], there: Point) -> tuple[float, ...]:
        return (1.0,) if len(points) == 1 else (gamma, 1 - gamma)

    return weights
