"""Trajectory consistency distillation."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, stochastic
from ldm_core.numerics.moves import move
from ldm_plugins.schedulers.shared.renoise import renoise

if TYPE_CHECKING:
    from torch import Tensor


@stochastic
def tcd(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    eta: Annotated[float, Field(ge=0, le=1)] = 0.3,
) -> Tensor:
    """Strategic stochastic sampling of TCD (Zheng et al. 2024, arXiv:2402.19159).

    Each step goes past the next point, along the trajectory to the timestep (1 - eta)·t, and is
    noised back up to it. For networks that were distilled so, on the points of the spacing `lcm`.

    Args:
        eta: the paper's gamma, how far each step goes past the next point; 0 is DDIM, 1 goes to
            the clean end each time.
    """
    schedule = grid.schedule
    for here, there in pairwise(grid):
        t = (1 - eta) * there.t
        past = schedule.at(math.floor(t) if schedule.discrete else t)
        if eta == 0 or there.sigma == 0 or past.ratio > there.ratio:
            past = there
        x = renoise(move(x, denoise(x, here), here, past), past, there, noise)
    return x
