"""The step of DDPM between any two points."""

from __future__ import annotations

import math
from typing import NamedTuple

from ldm_core.numerics.point import Point


class AncestralStep(NamedTuple):
    """q(x_there | x_here, x0): the mean kept·x_here + toward·x0, and the deviation about it
    (Ho et al. 2020, arXiv:2006.11239, Eq. 7)."""

    kept: float
    toward: float
    deviation: float


def ancestral_step(here: Point, there: Point) -> AncestralStep:
    """The step from one point to a less noisy one."""
    # sigma/alpha of the quieter point over that of the noisier one
    fall = (there.sigma * here.alpha) / (there.alpha * here.sigma)
    large = here.sigma**2 - (here.alpha / there.alpha * there.sigma) ** 2
    small = large * (there.sigma / here.sigma) ** 2
    return AncestralStep(
        there.sigma * fall / here.sigma, there.alpha * (1 - fall * fall), math.sqrt(max(small, 0.0))
    )
