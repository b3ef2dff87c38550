"""DDIM."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise, of_order, stochastic
from ldm_core.numerics.moves import ancestral_move

if TYPE_CHECKING:
    from torch import Tensor


@of_order(1)
@stochastic
def ddim(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, eta: float = 0.0) -> Tensor:
    """Denoising diffusion implicit models (Song et al. 2021, arXiv:2010.02502, Eq. 12 and 16).

    Args:
        eta: share of the noise drawn anew at each step; 0 is deterministic, 1 is DDPM.
    """
    for here, there in pairwise(grid):
        x = ancestral_move(x, denoise(x, here), here, there, noise, eta)
    return x
