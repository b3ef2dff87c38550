"""SEEDS-2."""

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
def seeds_2(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    eta: Annotated[float, Field(ge=0)] = 1.0,
    r: Annotated[float, Field(gt=0, le=1)] = 0.5,
    solver_type: Weights = "phi_1",
) -> Tensor:
    """SEEDS of two stages, on x0 (Gonzalez et al. 2023, arXiv:2305.14267): an
    exponential method in lambda = ln(alpha/sigma) along a path of the reverse SDE.

    Two evaluations a step; steps from pure noise, and to none, are of order one.

    Args:
        eta: how much noise is stirred in; 0 is the ODE, 1 the reverse SDE.
        r: where the second stage lies in the step, in lambda.
        solver_type: "phi_1" meets the order conditions up to the order alone, "phi_2" with the
            functions phi of exponential integrators.
    """
    return exponential_runge_kutta(x, grid, denoise, noise, two_stages(r, solver_type), eta)
