"""What the DPM-Solver++ schedulers share: steps in lambda = ln(alpha/sigma).

With eta = 0 a step is of the probability-flow ODE, with eta = 1 of the reverse SDE, and with any
other eta of the SDE between or beyond them, which has the same marginals (Lu et al. 2022,
arXiv:2211.01095, Section 5; Xue et al. 2023, arXiv:2309.05019, Eq. 6, where eta is tau²).
"""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum

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
    here: Point, there: Point, other: Point, eta: float, solver_type: SolverType
) -> tuple[float, float]:
    """What an estimate at another point adds to `first_order`: the slope of x0 in lambda.

    Args:
        solver_type: "midpoint" takes x0 from the middle of the step, "heun" integrates the slope.
    Returns:
        The weights of x0 and of the other estimate.
    """
    length = there.half_log_snr - here.half_log_snr
    rate = (1 + eta) * length
    weight = -math.expm1(-rate) / 2 if solver_type == "midpoint" else _moments(rate)[0]
    slope = there.alpha * weight / _node(here, length, other)
    return -slope, slope


def third_order(
    here: Point, there: Point, others: tuple[Point, Point], eta: float, curvature: float = 1.0
) -> tuple[float, float, float]:
    """What estimates at two other points add to `first_order`: the parabola of x0 in lambda.

    Args:
        curvature: factor of its second derivative.
    Returns:
        The weights of x0 and of the other estimates.
    """
    length = there.half_log_snr - here.half_log_snr
    a, b = (_node(here, length, other) for other in others)
    first, second = _moments((1 + eta) * length)
    # The slopes to both, (other - x0)/node, and their difference over that of the nodes.
    bend = there.alpha * (curvature * second - a * first) / (a - b)
    to_a, to_b = (there.alpha * first + bend) / a, -bend / b
    return -to_a - to_b, to_a, to_b


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
        latest = [(here, x0), *history][:highest]
        points = tuple([point for point, _ in latest])
        kept, weights, fresh = _weights(points, there, eta, solver_type, curvature)
        terms = [(weight, own) for weight, (_, own) in zip(weights, latest, strict=True)]
        if fresh > 0:
            terms.append((fresh, noise()))
        x = weighted_sum((kept, x), *terms)
        if here.alpha > 0:
            history.appendleft((here, x0))
    return x


@lru_cache(maxsize=4096)
def _weights(
    points: tuple[Point, ...], there: Point, eta: float, solver_type: SolverType, curvature: float
) -> tuple[float, tuple[float, ...], float]:
    """A step from the first of these points, of the order that they are many.

    Returns:
        How much of x is kept, the weights of the estimates at the points, and the standard
        deviation of the noise drawn.
    """
    here, *others = points
    kept, weight, fresh = first_order(here, there, eta)
    if not others:
        return kept, (weight,), fresh
    if len(others) == 1:
        added: tuple[float, ...] = second_order(here, there, others[0], eta, solver_type)
    else:
        added = third_order(here, there, (others[0], others[1]), eta, curvature)
    return kept, (weight + added[0], *added[1:]), fresh


def _node(here: Point, length: float, point: Point) -> float:
    """Where a point lies in lambda, 0 being the step's start and 1 its end."""
    return (point.half_log_snr - here.half_log_snr) / length


def _moments(rate: float) -> tuple[float, float]:
    """Integrals over v from 0 to 1 of rate·exp(-rate·(1 - v)) times v, and times v²."""
    first = 1 + math.expm1(-rate) / rate
    return first, 1 - 2 * first / rate
