"""DPM-Solver-2 with ancestral noise."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import NonNegativeFloat

from ldm_core.contracts import Denoise, Noise, of_order, starts_with, stochastic
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.moves import ancestral_move
from ldm_plugins.schedulers.dpm_2 import midpoint_step
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor


@starts_with(karras_start)
@of_order(2)
@stochastic
def dpm_2_ancestral(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, eta: NonNegativeFloat = 1.0
) -> Tensor:
    """The midpoint rule of `dpm_2` to a point with less noise, then fresh noise up to the grid's
    (Karras et al. 2022, arXiv:2206.00364; the split of Song et al. 2021, arXiv:2011.13456, App. F).

    Args:
        eta: share of the noise drawn anew at each step; 0 is dpm_2.
    """
    for here, there in pairwise(grid):
        fall = there.ratio / here.ratio  # 0 from pure noise, where no deterministic part is left
        fresh = min(eta * math.sqrt(1 - fall * fall), 1.0)
        if there.sigma == 0 or here.alpha == 0 or fresh == 1:
            x = ancestral_move(x, denoise(x, here), here, there, noise, eta)
            continue
        below = grid.schedule.at_ratio(there.ratio * math.sqrt(1 - fresh * fresh))
        x = midpoint_step(x, grid, here, below, denoise) * (there.alpha / below.alpha)
        if fresh > 0:
            x = x + there.sigma * fresh * noise()
    return x
