"""What the DPM-Solver++ schedulers share: steps in lambda = ln(alpha/sigma).

With eta = 0 a step is of the probability-flow ODE, with eta = 1 of the reverse SDE, and with any
other eta of the SDE between or beyond them, which has the same marginals (Lu et al. 2022,
arXiv:2211.01095, Section 5; Xue et al. 2023, arXiv:2309.05019, Eq. 6, where eta is tau²).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.numerics.factor import factor
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor

SolverType = Literal["midpoint", "heun"]
Estimate = tuple[Point, "Tensor"]
FEW = 15
"""Runs of fewer steps end with lower orders (arXiv:2211.01095, Section 6, for stability)."""


def first_order(here: Point, there: Point, eta: float) -> tuple[float, float, float]:
    """The step that holds x0 fixed, finite where alpha or sigma is 0.

    Returns:
        How much of x is kept, the weight of x0, and the standard deviation of the noise drawn.
    """
    fall = (there.sigma * here.alpha) / (there.alpha * here.sigma)  # exp(-h), h the step in lambda
    shrink = fall**eta
    fresh = there.sigma * math.sqrt(1 - shrink * shrink)
    return there.sigma / here.sigma * shrink, there.alpha * (1 - fall * shrink), fresh


def second_order(
    x0: Tensor, here: Point, there: Point, other: Estimate, eta: float, solver_type: SolverType
) -> Tensor:
    """What another estimate adds to `first_order`: the slope of x0 in lambda.

    Args:
        solver_type: "midpoint" takes x0 from the middle of the step, "heun" integrates the slope.
    """
    start = here.half_log_snr
    length = there.half_log_snr - start
    rate = (1 + eta) * length
    weight = -math.expm1(-rate) / 2 if solver_type == "midpoint" else _moments(rate)[0]
    _, slope = _slope(x0, start, length, other)
    slope *= factor(there.alpha * weight, slope)
    return slope


def third_order(
    x0: Tensor,
    here: Point,
    there: Point,
    others: Sequence[Estimate],
    eta: float,
    curvature: float = 1.0,
) -> Tensor:
    """What two other estimates add to `first_order`: the parabola of x0 in lambda.

    Args:
        curvature: factor of its second derivative.
    """
    start = here.half_log_snr
    length = there.half_log_snr - start
    (a, to_a), (b, to_b) = (_slope(x0, start, length, other) for other in others)
    bend = (to_a - to_b) / (a - b)
    first, second = _moments((1 + eta) * length)
    return (there.alpha * first) * (to_a - a * bend) + (there.alpha * second * curvature) * bend


def orders_of_steps(grid: Grid, order: int, lower_order_final: bool) -> list[int]:
    """The order that each step of a multistep scheduler may have: one to the clean end.

    Args:
        order: the highest.
        lower_order_final: whether short runs end with order two, then one. A part of a run is as
            short as the run, and ends where that does.
    """
    steps = len(grid) - 1
    ending = lower_order_final and grid.whole_steps < FEW
    orders = [min(order, steps - i + grid.after) if ending else order for i in range(steps)]
    if orders and grid[-1].sigma == 0:
        orders[-1] = 1
    return orders


def multistep(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    order: Literal[2, 3],
    eta: float = 0.0,
    solver_type: SolverType = "midpoint",
    curvature: float = 1.0,
    lower_order_final: bool = True,
) -> Tensor:
    """Walk the grid with one evaluation a step, which serves the next ones too.

    Steps that leave pure noise (alpha = 0), or arrive at none, are of order one.
    """
    history: deque[Estimate] = deque(maxlen=order - 1)  # newest first
    orders = orders_of_steps(grid, order, lower_order_final)
    for highest, (here, there) in zip(orders, pairwise(grid), strict=True):
        x0 = denoise(x, here)
        kept, weight, fresh = first_order(here, there, eta)
        x = factor(kept, x) * x
        x += factor(weight, x0) * x0
        if fresh > 0:
            x += fresh * noise()
        step_order = min(highest, 1 + len(history))
        if step_order == 2:
            x += second_order(x0, here, there, history[0], eta, solver_type)
        if step_order == 3:
            x += third_order(x0, here, there, history, eta, curvature)
        if here.alpha > 0:
            history.appendleft((here, x0))
    return x


def _slope(x0: Tensor, start: float, length: float, other: Estimate) -> tuple[float, Tensor]:
    """Where another estimate lies, 0 being the step's start and 1 its end in lambda, and the slope
    from x0 towards it."""
    point, estimate = other
    node = (point.half_log_snr - start) / length
    slope = estimate - x0
    slope /= factor(node, slope)
    return node, slope


def _moments(rate: float) -> tuple[float, float]:
    """Integrals over v from 0 to 1 of rate·exp(-rate·(1 - v)) times v, and times v²."""
    first = 1 + math.expm1(-rate) / rate
    return first, 1 - 2 * first / rate
