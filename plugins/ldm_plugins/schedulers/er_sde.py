"""ER-SDE-Solver."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise, stochastic
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


@stochastic
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
    history: deque[tuple[Point, Tensor]] = deque(maxlen=order)  # newest first
    behind: Tensor | None = None  # the slope between the latest two estimates, one step ago
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        shrink = _scale(there.ratio) / _scale(here.ratio) if here.alpha > 0 else 0.0
        kept = there.sigma / here.sigma * shrink
        x = kept * x + (there.alpha - kept * here.alpha) * x0
        if here.alpha > 0:
            history.appendleft((here, x0))
        if there.sigma > 0 and len(history) > 1:
            secant = slope = _slope(history[0], history[1])
            if len(history) > 2 and behind is not None:
                curve = (secant - behind) / ((here.ratio - history[2][0].ratio) / 2)
                slope = secant + (here.ratio - history[1][0].ratio) / 2 * curve
                x = x + there.alpha * _taylor(_scale, here, there, 2) * curve
            x = x + there.alpha * _taylor(_scale, here, there, 1) * slope
            behind = secant
        if there.sigma > 0:
            x = x + there.sigma * math.sqrt(1 - shrink * shrink) * noise()
    return x


def _scale(ratio: float) -> float:
    """phi(s)/s; constant it would be the ODE, and s itself the reverse SDE."""
    return math.exp(ratio**0.3) + 10


def _slope(new: tuple[Point, Tensor], old: tuple[Point, Tensor]) -> Tensor:
    return (new[1] - old[1]) / (new[0].ratio - old[0].ratio)


@lru_cache(maxsize=4096)
def _taylor(scale: Callable[[float], float], here: Point, there: Point, n: int) -> float:
    """The weight of x0's n-th derivative over alpha, of the first or the second order.

    By parts it is d^n/n! + phi(there)·∫ (s - here)^(n-1) ds/phi(s), where d is the way from here
    to there.

    Args:
        scale: phi(s)/s.
    """
    step = there.ratio - here.ratio
    # In ln(s) the integrand, that of ds/phi = dln(s)/(exp(s^0.3) + 10), is smooth.
    half = math.log(here.ratio / there.ratio) / 2
    total = 0.0
    for node, weight in _quadrature():
        s = there.ratio * math.exp(half * (1 + node))
        total += weight * half * (s - here.ratio) ** (n - 1) / scale(s)
    return step**n / n + there.ratio * scale(there.ratio) * total


@cache
def _quadrature() -> tuple[tuple[float, float], ...]:
    """Gauss and Legendre's 20 nodes in [-1, 1], with their weights."""
    from numpy.polynomial.legendre import leggauss

    nodes, weights = leggauss(20)
    return tuple(zip(nodes.tolist(), weights.tolist(), strict=True))
