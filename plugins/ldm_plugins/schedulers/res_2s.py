"""RES of two stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, of_order
from ldm_plugins.schedulers.shared.exponential_runge_kutta import (
    exponential_runge_kutta,
    two_stages,
)

if TYPE_CHECKING:
    from torch import Tensor


@of_order(2)
def res_2s(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    c2: Annotated[float, Field(gt=0, le=1)] = 0.5,
) -> Tensor:
    """Refined exponential solver, single-step of two stages (Zhang, Song & Chen 2023,
    arXiv:2308.02157).

    An exponential Runge-Kutta method in lambda = ln(alpha/sigma) whose order conditions hold with
    the functions phi. Two evaluations a step; steps from pure noise, and to none, are of order one.

    Args:
        c2: where the second stage lies in the step, in lambda.
    """
    return exponential_runge_kutta(x, grid, denoise, noise, two_stages(c2, "phi_2"))
