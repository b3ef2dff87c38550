"""DPM-Solver++(2M)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.steps import move

if TYPE_CHECKING:
    from torch import Tensor


def dpmpp_2m(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """DPM-Solver++ multistep of order two (Lu et al. 2022, arXiv:2211.01095, Algorithm 2).

    x0 is extrapolated linearly in lambda = ln(alpha/sigma) to the middle of the step. The first
    step, and steps between infinite lambdas, are of order one.
    """
    previous, x0_previous = None, x
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        estimate = x0
        if previous is not None and there.sigma > 0:
            behind = here.half_log_snr - previous.half_log_snr
            weight = (there.half_log_snr - here.half_log_snr) / (2 * behind)
            estimate = (1 + weight) * x0 - weight * x0_previous
        x = move(x, estimate, here, there)
        previous, x0_previous = here, x0
    return x
