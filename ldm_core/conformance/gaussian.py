"""Gaussian data: everything a sampler does has a closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ldm_core.numerics.noise_schedule import FlowSchedule, NoiseSchedule, VESchedule, vp_schedule
from ldm_core.numerics.point import Point

SCHEDULES: Mapping[str, NoiseSchedule] = {
    "vp": vp_schedule("linear", 0.0001, 0.02),
    "ve": VESchedule(0.02, 20.0),
    "flow": FlowSchedule(),
}
"""One schedule of each kind of path."""


@dataclass(frozen=True)
class GaussianData:
    """Data x0 ~ N(mean, std²), each element on its own."""

    mean: float = 0.7
    std: float = 0.6

    def denoise(self, x: Tensor, point: Point) -> Tensor:
        """The exact posterior mean E[x0 | x]: what a perfect network would return."""
        variance = (point.alpha * self.std) ** 2 + point.sigma**2
        weight = point.alpha * self.std**2 / variance
        return self.mean + weight * (x - point.alpha * self.mean)

    def marginal_std(self, point: Point) -> float:
        """Standard deviation of x at a point."""
        return math.hypot(point.alpha * self.std, point.sigma)

    def carry(self, x: Tensor, here: Point, there: Point) -> Tensor:
        """Where the probability-flow ODE takes x exactly: its standard score is kept.

        Source: Song et al. 2021, arXiv:2011.13456, Section 4.3, for a Gaussian marginal.
        """
        score = (x - here.alpha * self.mean) / self.marginal_std(here)
        return there.alpha * self.mean + self.marginal_std(there) * score
