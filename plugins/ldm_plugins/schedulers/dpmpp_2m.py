"""DPM-Solver++(2M)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.point import Point
from ldm_core.steps import move

if TYPE_CHECKING:
    from torch import Tensor


def dpmpp_2m(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """DPM-Solver++ multistep of order two (Lu et al. 2022, arXiv:2211.01095, Algorithm 2).

    x0 is extrapolated linearly in lambda = ln(alpha/sigma) to the middle of the step. The first
    step, and steps between infinite lambdas, are of order one.
    """
    previous = None
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        x = move(x, middle_estimate(x0, here, there, previous), here, there)
        previous = here, x0
    return x


def middle_estimate(
    x0: Tensor, here: Point, there: Point, previous: tuple[Point, Tensor] | None
) -> Tensor:
    """x0 extrapolated from the previous point and this one to the middle of the step."""
    if previous is None or there.sigma == 0:
        return x0
    point, estimate = previous
    behind = here.half_log_snr - point.half_log_snr
    weight = (there.half_log_snr - here.half_log_snr) / (2 * behind)
    return (1 + weight) * x0 - weight * estimate
