"""DPM-Solver++(2M)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise, of_order
from ldm_plugins.schedulers.shared.dpmpp_steps import SolverType, multistep

if TYPE_CHECKING:
    from torch import Tensor


@of_order(2)
def dpmpp_2m(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    solver_type: SolverType = "midpoint",
    lower_order_final: bool = True,
) -> Tensor:
    """DPM-Solver++ multistep of order two (Lu et al. 2022, arXiv:2211.01095, Algorithm 2).

    x0 is extrapolated linearly in lambda = ln(alpha/sigma). The first step, and steps between
    infinite lambdas, are of order one.

    Args:
        solver_type: "midpoint" takes x0 from the middle of the step, "heun" integrates its slope.
        lower_order_final: end runs of fewer than 15 steps with order one.
    """
    return multistep(
        x,
        grid,
        denoise,
        noise,
        order=2,
        solver_type=solver_type,
        lower_order_final=lower_order_final,
    )
