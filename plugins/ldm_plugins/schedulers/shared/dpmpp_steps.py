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
    rate = (1 + eta) * (there.half_log_snr - here.half_log_snr)
    weight = -math.expm1(-rate) / 2 if solver_type == "midpoint" else _moments(rate)[0]
    _, slope = _slope(x0, here, there, other)
    return (there.alpha * weight) * slope


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
    (a, to_a), (b, to_b) = (_slope(x0, here, there, other) for other in others)
    bend = (to_a - to_b) / (a - b)
    first, second = _moments((1 + eta) * (there.half_log_snr - here.half_log_snr))
    return (there.alpha * first) * (to_a - a * bend) + (there.alpha * second * curvature) * bend


def usable_order(order: int, known: int, left: int, steps: int, lower_order_final: bool) -> int:
    """The order of a multistep scheduler's step.

    Args:
        order: the highest.
        known: how many estimates there are, the latest among them.
        left: how many steps are still to be made, this one among them.
        lower_order_final: whether short runs end with order two, then one.
    """
    ending = lower_order_final and steps < FEW
    return min(order, known, left) if ending else min(order, known)


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
    seen: deque[Estimate] = deque(maxlen=order - 1)  # newest first
    steps = len(grid) - 1
    for i, (here, there) in enumerate(pairwise(grid)):
        x0 = denoise(x, here)
        kept, weight, fresh = first_order(here, there, eta)
        x = kept * x + weight * x0
        if fresh > 0:
            x = x + fresh * noise()
        used = usable_order(order, 1 + len(seen), steps - i, steps, lower_order_final)
        if there.sigma > 0 and used == 2:
            x = x + second_order(x0, here, there, seen[0], eta, solver_type)
        if there.sigma > 0 and used == 3:
            x = x + third_order(x0, here, there, seen, eta, curvature)
        if here.alpha > 0:
            seen.appendleft((here, x0))
    return x


def _slope(x0: Tensor, here: Point, there: Point, other: Estimate) -> tuple[float, Tensor]:
    """Where another estimate lies, 0 being here and 1 there, and the slope towards it."""
    point, estimate = other
    length = there.half_log_snr - here.half_log_snr
    node = (point.half_log_snr - here.half_log_snr) / length
    return node, (estimate - x0) / node


def _moments(rate: float) -> tuple[float, float]:
    """Integrals over v from 0 to 1 of rate·exp(-rate·(1 - v)) times v, and times v²."""
    first = 1 + math.expm1(-rate) / rate
    return first, 1 - 2 * first / rate
