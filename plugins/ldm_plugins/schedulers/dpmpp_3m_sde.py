"""SDE-DPM-Solver++(3M)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, of_order, stochastic
from ldm_plugins.schedulers.shared.dpmpp_steps import SolverType, multistep

if TYPE_CHECKING:
    from torch import Tensor


@of_order(2)
@stochastic
def dpmpp_3m_sde(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    eta: Annotated[float, Field(ge=0)] = 1.0,
    curvature: Literal["full", "half"] = "full",
    solver_type: SolverType = "midpoint",
    lower_order_final: bool = True,
) -> Tensor:
    """DPM-Solver++ of order three for the reverse SDE (Lu et al. 2022, arXiv:2211.01095, Sec. 5).

    x0 is extrapolated as in `dpmpp_3m`; noise of each step is drawn anew. k-diffusion's sampler of
    this name is the one with "half" curvature, "heun" steps and no lower orders at the end.

    Args:
        eta: how much noise the SDE stirs in; 0 is dpmpp_3m, 1 the reverse SDE.
        curvature: "full" integrates the parabola; "half" weighs its second derivative by half.
        solver_type: of the steps of order two, as in `dpmpp_2m`: "midpoint" takes x0 from the
            middle of the step, "heun" integrates its slope.
        lower_order_final: end runs of fewer than 15 steps with order two and one.
    """
    return multistep(
        x,
        grid,
        denoise,
        noise,
        order=3,
        eta=eta,
        curvature=1.0 if curvature == "full" else 0.5,
        solver_type=solver_type,
        lower_order_final=lower_order_final,
    )
