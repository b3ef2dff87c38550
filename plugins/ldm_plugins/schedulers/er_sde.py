"""ER-SDE-Solver."""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


def er_sde(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, order: Literal[1, 2, 3] = 3
) -> Tensor:
    """Extended reverse-time SDE solver (Cui et al. 2023, arXiv:2309.06169).

    Its noise is less than that of the reverse SDE, by the authors' noise scale phi(s) =
    s·(exp(s^0.3) + 10) of the ratio s = sigma/alpha. x0 is a polynomial in s through the latest
    estimates; the authors' code, at order three, takes its slope from the last two of them alone,
    which leaves order two. The first two steps are of order one and two; steps that leave pure
    noise or arrive at none are of order one. One evaluation a step.

    Args:
        order: how many estimates are used.
    """
    seen: deque[tuple[Point, Tensor]] = deque(maxlen=order)  # newest first
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        shrink = _scale(there.ratio) / _scale(here.ratio) if here.alpha > 0 else 0.0
        kept = there.sigma / here.sigma * shrink
        x = kept * x + (there.alpha - kept * here.alpha) * x0
        if here.alpha > 0:
            seen.appendleft((here, x0))
        if there.sigma > 0 and len(seen) > 1:
            slope = _slope(seen[0], seen[1])
            if len(seen) > 2:
                width = (here.ratio - seen[2][0].ratio) / 2
                curve = (slope - _slope(seen[1], seen[2])) / width
                slope = slope + (here.ratio - seen[1][0].ratio) / 2 * curve
                x = x + _taylor(here, there, 2) * curve
            x = x + _taylor(here, there, 1) * slope
        if there.sigma > 0:
            x = x + there.sigma * math.sqrt(1 - shrink * shrink) * noise()
    return x


def _scale(ratio: float) -> float:
    """phi(s)/s; constant it would be the ODE, and s itself the reverse SDE."""
    return math.exp(ratio**0.3) + 10


def _slope(new: tuple[Point, Tensor], old: tuple[Point, Tensor]) -> Tensor:
    return (new[1] - old[1]) / (new[0].ratio - old[0].ratio)


def _taylor(here: Point, there: Point, n: int) -> float:
    """The weight of x0's n-th derivative, of the first or the second order.

    By parts it is alpha·(d^n/n! + phi(there)·∫ (s - here)^(n-1) ds/phi(s)), d from here to there.
    """
    from numpy.polynomial.legendre import leggauss

    step = there.ratio - here.ratio
    # In ln(s) the integrand, that of ds/phi = dln(s)/(exp(s^0.3) + 10), is smooth.
    half = math.log(here.ratio / there.ratio) / 2
    total = 0.0
    for node, weight in zip(*leggauss(20), strict=True):
        s = there.ratio * math.exp(half * (1 + node))
        total += weight * half * (s - here.ratio) ** (n - 1) / _scale(s)
    phi = there.ratio * _scale(there.ratio)
    return there.alpha * (step**n / n + phi * total)
