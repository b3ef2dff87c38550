"""Heun."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise, of_order, starts_with
from ldm_core.numerics.moves import move
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor


@starts_with(karras_start)
@of_order(2)
def heun(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """Heun's second-order method (Karras et al. 2022, arXiv:2206.00364, Alg. 1 with gamma = 0).

    The trapezoid rule in the ratio sigma/alpha, written as a correction of Euler's step that
    needs no division by alpha. Where a step leaves pure noise (alpha = 0), or arrives at no noise,
    the trapezoid has no finite end and Euler's step stands. Two evaluations a step.
    """
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        x = move(x, x0, here, there)
        if here.alpha > 0 and there.sigma > 0:
            weight = there.alpha * (here.ratio / there.ratio - 1) / 2
            x = x + weight * (denoise(x, there) - x0)
    return x
