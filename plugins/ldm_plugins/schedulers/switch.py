"""One scheduler, then another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, Scheduler, Walk

if TYPE_CHECKING:
    from torch import Tensor


def switch(
    *, first: Scheduler, then: Scheduler, at: Annotated[float, Field(ge=0, le=1)] = 0.5
) -> Scheduler:
    """One scheduler down to a point of the grid, and another from there on.

    x starts as the first scheduler wants it. The second begins anew: a multistep method has no
    earlier estimates to go by at its first step.

    Args:
        first: the scheduler that begins.
        then: the one that goes on.
        at: the share of the steps that the first one takes, to the nearest whole step, but
            at least one unless the share is 0.
    """

    def walk(first: Walk, then: Walk) -> Walk:
        def switched(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
            steps = max(math.floor(at * (len(grid) - 1) + 0.5), 1)  # x starts as the first wants it
            x = first(x, grid[: steps + 1], denoise, noise)
            if steps < len(grid) - 1:
                x = then(x, grid[steps:], denoise, noise)
            return x

        return switched

    if at == 0:
        return Scheduler.around("switch", lambda then: then, then)
    return Scheduler.around("switch", walk, first, then)
