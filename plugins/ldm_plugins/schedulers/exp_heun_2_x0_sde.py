"""Heun's method, exponential, for the SDE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, of_order, stochastic
from ldm_plugins.schedulers.shared.exponential_runge_kutta import (
    Weights,
    exponential_runge_kutta,
    two_stages,
)

if TYPE_CHECKING:
    from torch import Tensor


@of_order(2)
@stochastic
def exp_heun_2_x0_sde(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    eta: Annotated[float, Field(ge=0)] = 1.0,
    solver_type: Weights = "phi_2",
) -> Tensor:
    """`exp_heun_2_x0` along a path of the reverse SDE (Gonzalez et al. 2023, arXiv:2305.14267,
    with the second stage at the end of the step).

    Two evaluations a step; steps from pure noise, and to none, are of order one.

    Args:
        eta: how much noise is stirred in; 0 is the ODE, 1 the reverse SDE.
        solver_type: "phi_2" meets the order conditions with the functions phi of exponential
            integrators, "phi_1" up to the order alone.
    """
    return exponential_runge_kutta(x, grid, denoise, noise, two_stages(1.0, solver_type), eta)
