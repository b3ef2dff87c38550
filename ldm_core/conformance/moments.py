"""Exact mean and standard deviation of what a linear scheduler makes of Gaussian data.

No sample is drawn, so a stochastic scheduler's error is seen without any statistical one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ldm_core.conformance.gaussian import GaussianData
from ldm_core.conformance.trace import LinearForm
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.point import CLEAN, Point

DATA = GaussianData()
Affine = Callable[[Point], tuple[float, float]]
"""A denoiser of Gaussian data, as the slope and offset of x0 in x."""


def posterior_mean(point: Point) -> tuple[float, float]:
    """The exact E[x0 | x]."""
    slope = point.alpha * DATA.std**2 / DATA.marginal_std(point) ** 2
    return slope, DATA.mean * (1 - slope * point.alpha)


def solution_map(point: Point, there: Point = CLEAN) -> tuple[float, float]:
    """Where the probability-flow ODE takes x exactly."""
    slope = DATA.marginal_std(there) / DATA.marginal_std(point)
    return slope, DATA.mean * (there.alpha - slope * point.alpha)


def end_moments(
    scheduler: Any, grid: Grid, denoiser: Affine = posterior_mean, shift: float = 0.0
) -> tuple[float, float]:
    """Mean and standard deviation at the end, without sampling error.

    Everything is linear, so that x is a row: its mean, and the coefficients of independent unit
    normals.

    Args:
        shift: how far the mean of the first x lies off the true one.
    """
    drawn = 0

    def denoise(x: LinearForm, point: Point) -> LinearForm:
        slope, offset = denoiser(point)
        return slope * x + LinearForm({"mean": offset})

    def noise() -> LinearForm:
        nonlocal drawn
        drawn += 1
        return LinearForm({f"noise[{drawn}]": 1.0})

    first = grid[0]
    x = LinearForm({"mean": first.alpha * DATA.mean + shift, "x": DATA.marginal_std(first)})
    end = scheduler(x, grid, denoise, noise)
    spread = [value for symbol, value in end.terms.items() if symbol != "mean"]
    return end["mean"], math.sqrt(sum(value * value for value in spread))


def moment_errors(scheduler: Any, grid: Grid, denoiser: Affine = posterior_mean) -> list[float]:
    """How far the end's mean and standard deviation are from those of the data's marginal."""
    mean, std = end_moments(scheduler, grid, denoiser)
    return [mean - grid[-1].alpha * DATA.mean, std - DATA.marginal_std(grid[-1])]
