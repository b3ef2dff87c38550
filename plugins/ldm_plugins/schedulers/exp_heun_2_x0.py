"""Heun's method, exponential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise, of_order
from ldm_plugins.schedulers.shared.exponential_runge_kutta import (
    Weights,
    exponential_runge_kutta,
    two_stages,
)

if TYPE_CHECKING:
    from torch import Tensor


@of_order(2)
def exp_heun_2_x0(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, solver_type: Weights = "phi_2"
) -> Tensor:
    """Heun's method as an exponential one on x0 in lambda = ln(alpha/sigma): the second stage lies
    at the end of the step (Hochbruck & Ostermann 2005, Explicit exponential Runge-Kutta methods
    for semilinear parabolic problems, Eq. 5.3 with c2 = 1).

    Two evaluations a step; steps from pure noise, and to none, are of order one.

    Args:
        solver_type: "phi_2" meets the order conditions with the functions phi of exponential
            integrators, "phi_1" up to the order alone.
    """
    return exponential_runge_kutta(x, grid, denoise, noise, two_stages(1.0, solver_type))
