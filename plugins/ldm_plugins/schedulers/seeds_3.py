"""SEEDS-3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, of_order, stochastic
from ldm_plugins.schedulers.shared.exponential_runge_kutta import (
    exponential_runge_kutta,
    three_stages,
)

if TYPE_CHECKING:
    from torch import Tensor


@of_order(2)
@stochastic
def seeds_3(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    eta: Annotated[float, Field(ge=0)] = 1.0,
) -> Tensor:
    """SEEDS of three stages, on x0 (Gonzalez et al. 2023, arXiv:2305.14267): an
    exponential method in lambda = ln(alpha/sigma) along a path of the reverse SDE, with stages at
    a third and two thirds of the step.

    Three evaluations a step; steps from pure noise, and to none, are of order one. Without noise
    the order is three.

    Args:
        eta: how much noise is stirred in; 0 is the ODE, 1 the reverse SDE.
    """
    return exponential_runge_kutta(x, grid, denoise, noise, three_stages(1 / 3, 2 / 3), eta)
