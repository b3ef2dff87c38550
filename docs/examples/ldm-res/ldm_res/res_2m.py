"""A scheduler: the refined exponential solver, multistep of order two."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise, of_order
from ldm_core.numerics.moves import move

if TYPE_CHECKING:
    from torch import Tensor


@of_order(2)
def res_2m(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, order: Literal[1, 2] = 2
) -> Tensor:
    """Refined exponential solver, multistep (Zhang, Song & Chen 2023, arXiv:2308.02157).

    x0 is extrapolated linearly in lambda = ln(alpha/sigma) and the step is integrated exactly,
    with the function phi_2. The first step, and steps between infinite lambdas, are of order one.
    One evaluation a step.

    Args:
        order: 2, or 1 for DDIM.
    """
    before, x0_before = None, x
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        x = move(x, x0, here, there)
        if order == 2 and before is not None and there.sigma > 0:
            # Where the point before has no signal, its lambda is -inf and the weight 0.
            h = there.half_log_snr - here.half_log_snr
            weight = (h + math.expm1(-h)) / (here.half_log_snr - before.half_log_snr)
            x = x + there.alpha * weight * (x0 - x0_before)
        before, x0_before = here, x0
    return x
