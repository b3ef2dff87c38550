"""SDE-DPM-Solver++(2M)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, of_order, stochastic
from ldm_plugins.schedulers.shared.dpmpp_steps import SolverType, multistep

if TYPE_CHECKING:
    from torch import Tensor


@of_order(2)
@stochastic
def dpmpp_2m_sde(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    eta: Annotated[float, Field(ge=0)] = 1.0,
    solver_type: SolverType = "midpoint",
    lower_order_final: bool = True,
) -> Tensor:
    """DPM-Solver++ of order two for the reverse SDE (Lu et al. 2022, arXiv:2211.01095, Eq. 19).

    x0 is extrapolated as in `dpmpp_2m`; noise of each step is drawn anew.

    Args:
        eta: how much noise the SDE stirs in; 0 is dpmpp_2m, 1 the reverse SDE.
        solver_type: "midpoint" takes x0 from the middle of the step, "heun" integrates its slope.
        lower_order_final: end runs of fewer than 15 steps with order one.
    """
    return multistep(
        x,
        grid,
        denoise,
        noise,
        order=2,
        eta=eta,
        solver_type=solver_type,
        lower_order_final=lower_order_final,
    )
