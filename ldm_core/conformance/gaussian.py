"""Gaussian data: everything a sampler does has a closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ldm_core.numerics.noise_schedule import FlowSchedule, NoiseSchedule, VESchedule, vp_schedule
from ldm_core.numerics.point import CLEAN, Point

SCHEDULES: Mapping[str, NoiseSchedule] = {
    "vp": vp_schedule("linear", 0.0001, 0.02),
    "ve": VESchedule(0.02, 20.0),
    "flow": FlowSchedule(),
}
"""One schedule of each kind of path."""

Affine = tuple[float, float]
"""An affine map x -> slope·x + offset, as (slope, offset)."""


@dataclass(frozen=True)
class GaussianData:
    """Data x0 ~ N(mean, std²), each element on its own."""

    mean: float = 0.7
    std: float = 0.6

    def marginal_std(self, point: Point) -> float:
        """Standard deviation of x at a point."""
        return math.hypot(point.alpha * self.std, point.sigma)

    def posterior_mean(self, point: Point) -> Affine:
        """The exact E[x0 | x], as a map of x: what a perfect network would return."""
        slope = point.alpha * self.std**2 / self.marginal_std(point) ** 2
        return slope, self.mean * (1 - slope * point.alpha)

    def solution(self, here: Point, there: Point = CLEAN) -> Affine:
        """Where the probability-flow ODE takes x exactly, as a map of x: its standard score is
        kept.

        Source: Song et al. 2021, arXiv:2011.13456, Section 4.3, for a Gaussian marginal.
        """
        slope = self.marginal_std(there) / self.marginal_std(here)
        return slope, self.mean * (there.alpha - slope * here.alpha)

    def denoise(self, x: Tensor, point: Point) -> Tensor:
        """The exact posterior mean E[x0 | x], as a denoiser."""
        slope, _ = self.posterior_mean(point)
        return self.mean + slope * (x - point.alpha * self.mean)

    def carry(self, x: Tensor, here: Point, there: Point) -> Tensor:
        """Where the probability-flow ODE takes x exactly."""
        slope, _ = self.solution(here, there)
        return there.alpha * self.mean + slope * (x - here.alpha * self.mean)
