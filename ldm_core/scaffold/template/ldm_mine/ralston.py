"""A scheduler: it walks x along the grid."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from ldm_core.contracts import Denoise, Grid, Noise, of_order
from ldm_core.numerics.moves import move
from pydantic import Field

if TYPE_CHECKING:
    from torch import Tensor


@of_order(2)
def ralston(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    at: Annotated[float, Field(gt=0, lt=1)] = 2 / 3,
) -> Tensor:
    """Second-order Runge-Kutta in sigma/alpha (Ralston 1962, Math. Comp. 16, p. 431).

    Two evaluations a step, the second within it.

    Args:
        at: where in a step the second lies: 2/3 is Ralston's method, 1/2 the midpoint rule.
    """
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        ahead = move(x, x0, here, there)
        if here.alpha > 0:  # where a step leaves pure noise, Euler's stands
            length = there.ratio - here.ratio
            inner = grid.schedule.at_ratio(here.ratio + at * length)
            x0_inner = denoise(move(x, x0, here, inner), inner)
            ahead = ahead + there.alpha * length / (2 * at * inner.ratio) * (x0 - x0_inner)
        x = ahead
    return x
