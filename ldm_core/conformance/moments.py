"""Exact mean and standard deviation of what a linear scheduler makes of Gaussian data.

No sample is drawn, so a stochastic scheduler's error is seen without any statistical one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from ldm_core.conformance.gaussian import Affine, GaussianData
from ldm_core.conformance.trace import LinearForm
from ldm_core.contracts import Scheduler, Walk, as_scheduler
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.point import Point

DATA = GaussianData()
AffineDenoiser = Callable[[Point], Affine]
"""``denoiser(point)``: x0 as a map of x there."""


def end_moments(
    scheduler: Scheduler | Walk,
    grid: Grid,
    denoiser: AffineDenoiser | None = None,
    shift: float = 0.0,
    data: GaussianData = DATA,
) -> tuple[float, float]:
    """Mean and standard deviation at the end, without sampling error.

    Everything is linear, so that x is a row: its mean, and the coefficients of independent unit
    normals.

    Args:
        denoiser: the perfect one where not given.
        shift: how far the mean of the first x lies off the true one.
    """
    estimate = denoiser or data.posterior_mean
    drawn = 0

    def denoise(x: LinearForm, point: Point) -> LinearForm:
        slope, offset = estimate(point)
        return slope * x + LinearForm({"mean": offset})

    def noise() -> LinearForm:
        nonlocal drawn
        drawn += 1
        return LinearForm({f"noise[{drawn}]": 1.0})

    first = grid[0]
    x = LinearForm({"mean": first.alpha * data.mean + shift, "x": data.marginal_std(first)})
    walk = cast(Any, as_scheduler(scheduler).walk)
    end = walk(x, grid, denoise, noise)
    spread = [value for symbol, value in end.terms.items() if symbol != "mean"]
    return end["mean"], math.sqrt(sum(value * value for value in spread))


def moment_errors(
    scheduler: Scheduler | Walk,
    grid: Grid,
    denoiser: AffineDenoiser | None = None,
    data: GaussianData = DATA,
) -> list[float]:
    """How far the end's mean and standard deviation are from those of the data's marginal."""
    mean, std = end_moments(scheduler, grid, denoiser, data=data)
    return [mean - grid[-1].alpha * data.mean, std - data.marginal_std(grid[-1])]
