"""SDE-DPM-Solver++(2M)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_plugins.schedulers.dpmpp_2m import middle_estimate

if TYPE_CHECKING:
    from torch import Tensor


def dpmpp_2m_sde(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """DPM-Solver++ of order two for the reverse SDE (Lu et al. 2022, arXiv:2211.01095, Eq. 19).

    x0 is extrapolated as in `dpmpp_2m`; noise of each step is drawn anew.
    """
    previous = None
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        estimate = middle_estimate(x0, here, there, previous)
        # exp(-h), for the step h in lambda = ln(alpha/sigma); 0 from pure noise or to none
        shrink = (there.sigma * here.alpha) / (there.alpha * here.sigma)
        x = (there.sigma / here.sigma * shrink) * x + there.alpha * (1 - shrink**2) * estimate
        if there.sigma > 0:
            x = x + there.sigma * math.sqrt(1 - shrink**2) * noise()
        previous = here, x0
    return x
