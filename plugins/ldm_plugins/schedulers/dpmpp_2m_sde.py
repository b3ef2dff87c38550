"""SDE-DPM-Solver++(2M)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise

if TYPE_CHECKING:
    from torch import Tensor


def dpmpp_2m_sde(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """DPM-Solver++ of order two for the reverse SDE (Lu et al. 2022, arXiv:2211.01095, Eq. 19).

    x0 is extrapolated as in `dpmpp_2m`; noise of each step is drawn anew.
    """
    previous, x0_previous = None, x
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        estimate = x0
        if previous is not None and there.sigma > 0:
            behind = here.half_log_snr - previous.half_log_snr
            weight = (there.half_log_snr - here.half_log_snr) / (2 * behind)
            estimate = (1 + weight) * x0 - weight * x0_previous
        # exp(-h), for the step h in lambda = ln(alpha/sigma); 0 from pure noise or to none
        shrink = (there.sigma * here.alpha) / (there.alpha * here.sigma)
        x = (there.sigma / here.sigma * shrink) * x + there.alpha * (1 - shrink**2) * estimate
        if there.sigma > 0:
            x = x + there.sigma * math.sqrt(1 - shrink**2) * noise()
        previous, x0_previous = here, x0
    return x
