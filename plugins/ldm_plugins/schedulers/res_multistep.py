"""The refined exponential solver, multistep."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum
from ldm_plugins.schedulers.shared.exponential_adams import drift

if TYPE_CHECKING:
    from torch import Tensor


def res_multistep(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, order: Literal[2, 3] = 2
) -> Tensor:
    """Refined exponential solver, multistep (Zhang, Song & Chen 2023, arXiv:2308.02157).

    The latest estimates of x0 are interpolated in lambda = ln(alpha/sigma) and integrated exactly,
    so that the order conditions hold with the functions phi of exponential integrators, where
    `dpmpp_2m` meets them up to the order alone. The first steps are of lower order, as are
    steps between infinite lambdas. One evaluation a step.

    Args:
        order: how many estimates are used.
    """
    history: deque[tuple[Point, Tensor]] = deque(maxlen=order)  # newest first
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        if here.alpha == 0 or there.sigma == 0:
            x = move(x, x0, here, there)
            continue
        history.appendleft((here, x0))
        x = weighted_sum((there.sigma / here.sigma, x), *drift(history, here, there))
    return x
