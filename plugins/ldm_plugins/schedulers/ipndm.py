"""iPNDM."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_plugins.schedulers.shared.noise_estimates import move_by, noise_in

if TYPE_CHECKING:
    from torch import Tensor

BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Adams and Bashforth's weights on even steps, newest first, by how many estimates there are."""


def ipndm(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, order: Literal[1, 2, 3, 4] = 4
) -> Tensor:
    """Improved pseudo numerical methods (Zhang & Chen 2022, arXiv:2204.13902, appendix on iPNDM).

    Like `pndm`, with Adams-Bashforth of lower order in place of its warm-up, so that each step
    takes one evaluation. The weights are those of even steps; over the whole way the order is two.

    Args:
        order: how many noise estimates are weighed, 1 to 4; fewer in the first steps.
    """
    history: deque[Tensor] = deque(maxlen=order)  # newest first
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        history.appendleft(noise_in(x, x0, here))
        x = move_by(x, x0, here, there, BASHFORTH[len(history) - 1], history)
    return x
