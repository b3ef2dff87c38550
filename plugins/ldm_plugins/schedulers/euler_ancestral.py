"""Euler ancestral."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import NonNegativeFloat

from ldm_core.contracts import Denoise, Grid, Noise, of_order, starts_with, stochastic
from ldm_core.numerics.moves import ancestral_move
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor


@starts_with(karras_start)
@of_order(1)
@stochastic
def euler_ancestral(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, eta: NonNegativeFloat = 1.0
) -> Tensor:
    """Euler's method with ancestral noise (Song et al. 2021, arXiv:2011.13456, Appendix F).

    On one grid its steps are DDPM's; what differs from `ddpm` is how x starts.

    Args:
        eta: share of the noise drawn anew at each step; 0 is Euler.
    """
    for here, there in pairwise(grid):
        x = ancestral_move(x, denoise(x, here), here, there, noise, eta)
    return x
