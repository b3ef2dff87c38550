"""DPM-Solver++(3M)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_plugins.schedulers.shared.dpmpp_steps import SolverType, multistep

if TYPE_CHECKING:
    from torch import Tensor


def dpmpp_3m(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    curvature: Literal["full", "half"] = "full",
    solver_type: SolverType = "midpoint",
    lower_order_final: bool = True,
) -> Tensor:
    """DPM-Solver++ multistep of order three (Lu et al. 2022, arXiv:2211.01095, Section 4.2).

    x0 is extrapolated by a parabola in lambda = ln(alpha/sigma). The first two steps are of order
    one and two, as is each step that has too few estimates with a finite lambda.

    Args:
        curvature: "full" integrates the parabola and is of order three; "half" weighs its second
            derivative by half, as the paper's code and Diffusers do, and is of order two.
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
        curvature=1.0 if curvature == "full" else 0.5,
        solver_type=solver_type,
        lower_order_final=lower_order_final,
    )
