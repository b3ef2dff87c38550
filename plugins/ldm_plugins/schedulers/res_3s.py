"""RES of three stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise, of_order
from ldm_plugins.schedulers.shared.exponential_runge_kutta import (
    exponential_runge_kutta,
    three_stages,
)

if TYPE_CHECKING:
    from torch import Tensor


@of_order(3)
def res_3s(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """Refined exponential solver, single-step of three stages (Zhang, Song & Chen 2023,
    arXiv:2308.02157), which lie at the start, the middle and the end of the step in
    lambda = ln(alpha/sigma).

    Three evaluations a step; steps from pure noise, and to none, are of order one.
    """
    return exponential_runge_kutta(x, grid, denoise, noise, three_stages(0.5, 1.0))
