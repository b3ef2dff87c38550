"""DDPM, on any subset of the training timesteps."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.steps import ancestral_move

if TYPE_CHECKING:
    from torch import Tensor


def ddpm(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """Ancestral sampling with the posterior's variance (Ho et al. 2020, arXiv:2006.11239, Alg. 2).

    Each step draws from q(x_there | x_here, x0) of Eq. 6-7, the smaller of the paper's two
    variances.
    """
    for here, there in pairwise(grid):
        x = ancestral_move(x, denoise(x, here), here, there, noise)
    return x
