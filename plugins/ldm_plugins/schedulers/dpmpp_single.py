"""DPM-Solver++, single-step."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, stochastic
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum
from ldm_plugins.schedulers.shared.dpmpp_steps import (
    Estimate,
    SolverType,
    first_order,
    second_order,
    third_order,
)

if TYPE_CHECKING:
    from torch import Tensor


@stochastic
def dpmpp_single(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    order: Literal[1, 2, 3] = 2,
    eta: Annotated[float, Field(ge=0)] = 0.0,
    solver_type: SolverType = "midpoint",
    one_path: bool = True,
    lower_order_final: bool = True,
) -> Tensor:
    """DPM-Solver++ single-step, 2S and 3S (Lu et al. 2022, arXiv:2211.01095, Algorithm 1; the third
    order as in arXiv:2206.00927, Algorithm 2).

    A step of order k spans k intervals of the grid, whose inner points are where it evaluates the
    denoiser, so that a run makes one evaluation for each interval. Where the last step does not
    fit, one of lower order fills the grid; steps from pure noise (alpha = 0), and to none, are of
    order one.

    Args:
        order: the highest, 1 to 3.
        eta: how much noise is stirred in; 0 is the ODE, 1 the reverse SDE.
        solver_type: "midpoint" takes x0 from the middle of the step, in order three from two
            thirds of it; "heun" integrates the line or parabola through all estimates.
        one_path: the noise at inner points is a part of the step's, as along one path of the SDE;
            where not, it is drawn anew for each, as in Diffusers, and the step is of order one in
            distribution.
        lower_order_final: end with order one even where a whole step fits.
    """
    inner: list[Estimate] = []  # this step's evaluations after its first
    start: tuple[Tensor, Point, Tensor] | None = None  # where it began: x, point, x0
    drawn: Tensor | None = None  # the noise on the way from there
    orders = _orders(grid, order, lower_order_final)
    for used, (here, there) in zip(orders, pairwise(grid), strict=True):
        x0 = denoise(x, here)
        if used == 1 or start is None:
            start, inner, drawn = (x, here, x0), [], None
        else:
            inner.append((here, x0))
        began, first, estimate = start
        kept, weight, _ = first_order(first, there, eta)
        terms = [(kept, began), (weight, estimate)]
        if len(inner) == 2 and solver_type == "heun":
            (nearer, one), (farther, other) = inner
            at_first, *beside = third_order(first, there, (nearer, farther), eta)
            terms += [(at_first, estimate), (beside[0], one), (beside[1], other)]
        elif inner:
            point, other = inner[-1]
            of_slope = solver_type if len(inner) == 1 else "heun"
            at_first, at_other = second_order(first, there, point, eta, of_slope)
            terms += [(at_first, estimate), (at_other, other)]
        x = weighted_sum(*terms)
        kept, _, fresh = first_order(here if one_path else first, there, eta)
        if fresh > 0:
            new = fresh * noise()
            drawn = kept * drawn + new if one_path and drawn is not None else new
            x = x + drawn
    return x


def _orders(grid: Grid, order: int, lower_order_final: bool) -> list[int]:
    """The order reached at the end of each interval: 1, 2, 3, 1, 2, 3, ... and lower at the end.

    A part of a run has the orders of the run there. Where it begins within a step, the rest of that
    step is one of its own.
    """
    alone = 1 if grid[0].alpha == 0 else 0
    begun = 0 if alone else grid.before
    orders = [(begun + i) % order + 1 for i in range(len(grid) - 1 - alone)]
    # A last interval of its own cuts the step before it short.
    full = lower_order_final and grid.after == 0 and orders[-1:] == [order]
    if orders and (grid[-1].sigma == 0 or full):
        orders[-1] = 1
    return [1] * alone + orders
