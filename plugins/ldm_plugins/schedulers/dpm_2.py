"""DPM-Solver-2."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Noise, of_order, starts_with
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor


@starts_with(karras_start)
@of_order(2)
def dpm_2(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """The midpoint rule in sigma/alpha, the middle taken in log-SNR (Lu et al. 2022,
    arXiv:2206.00927, Algorithm 1; in this form Karras et al. 2022, arXiv:2206.00364, Alg. 3).

    Where a step leaves pure noise (alpha = 0), or arrives at none, there is no middle in log-SNR
    and Euler's step stands. Two evaluations a step.
    """
    for here, there in pairwise(grid):
        x = midpoint_step(x, grid, here, there, denoise)
    return x


def midpoint_step(x: Tensor, grid: Grid, here: Point, there: Point, denoise: Denoise) -> Tensor:
    """One step of the rule, as a correction of Euler's step."""
    x0 = denoise(x, here)
    moved = move(x, x0, here, there)
    if here.alpha == 0 or there.sigma == 0:
        return moved
    middle = grid.between(here, there)
    x0_middle = denoise(move(x, x0, here, middle), middle)
    weight = there.alpha * (there.ratio - here.ratio) / middle.ratio
    return weighted_sum((1.0, moved), (weight, x0), (-weight, x0_middle))
