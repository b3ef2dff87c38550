"""Euler."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise, of_order, starts_with
from ldm_core.numerics.moves import move
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor


@starts_with(karras_start)
@of_order(1)
def euler(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """Euler's method on the probability-flow ODE (Karras et al. 2022, arXiv:2206.00364, Alg. 1)."""
    for here, there in pairwise(grid):
        x = move(x, denoise(x, here), here, there)
    return x
