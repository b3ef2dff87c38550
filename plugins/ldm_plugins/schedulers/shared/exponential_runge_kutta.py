"""Exponential Runge-Kutta methods in lambda = ln(alpha/sigma)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum
from ldm_plugins.schedulers.shared.dpmpp_steps import first_order
from ldm_plugins.schedulers.shared.exponential_adams import moments

if TYPE_CHECKING:
    from torch import Tensor

Weights = Literal["phi_1", "phi_2"]
Phi = Callable[[int, float], float]
"""``phi(k, c)``: phi_k(-c·rate) times the rate of a step, the length in lambda times 1 + eta, where
phi_1(z) = (exp(z) - 1)/z and phi_(k+1)(z) = (phi_k(z) - 1/k!)/z."""
Rows = Sequence[tuple[float, tuple[float, ...]]]
"""Of each stage after the first, and of the end, at 1: where it lies in the step, and what it
weighs the estimates of the stages before it by, but that of the first, which has the rest."""
Tableau = Callable[[Phi], Rows]
"""``tableau(phi)``; a function that is kept, such as one of a module."""


def exponential_runge_kutta(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, tableau: Tableau, eta: float = 0.0
) -> Tensor:
    """Walk the grid by a tableau, one evaluation a stage.

    Steps from pure noise (alpha = 0), and to none, are endless in lambda, and of order one.

    Args:
        eta: strength of the noise, 0 for the probability-flow ODE, 1 for the reverse SDE, whose
            noise at the stages and at the end is that of one path.
    Source: Hochbruck & Ostermann 2005, Explicit exponential Runge-Kutta methods for semilinear
        parabolic problems, Eq. 2.3; along an SDE Gonzalez et al. 2023, arXiv:2305.14267, Section 4.
    """
    for here, there in pairwise(grid):
        estimates = [denoise(x, here)]
        if here.alpha == 0 or there.sigma == 0:
            kept, weight, fresh = first_order(here, there, eta)
            terms = [(kept, x), (weight, estimates[0])]
            x = weighted_sum(*terms, (fresh, noise())) if fresh > 0 else weighted_sum(*terms)
            continue
        stages = _stages(tableau, here, there, eta)
        drawn: Tensor | None = None
        for i, stage in enumerate(stages):
            point = there if stage.at == 1 else grid.schedule.at_ratio(stage.ratio)
            terms = [(point.sigma / here.sigma * stage.kept, x)]
            pairs = zip(stage.weights, estimates, strict=True)
            terms += [(point.alpha * weight, x0) for weight, x0 in pairs if weight != 0]
            if stage.fresh > 0:
                new = noise()
                old = [] if drawn is None else [(stage.pull, drawn)]
                drawn = weighted_sum((stage.fresh, new), *old)
            if drawn is not None:
                terms.append((point.sigma, drawn))
            ahead = weighted_sum(*terms)
            if i < len(stages) - 1:
                estimates.append(denoise(ahead, point))
        x = ahead
    return x


class _Stage(NamedTuple):
    """One stage of a step.

    Attributes:
        at: where it lies in the step.
        ratio: sigma/alpha there.
        kept: of x, over the quotient of the sigmas.
        weights: of the estimates, over alpha there.
        pull: what is left of the noise that the stage before it drew, over sigma there.
        fresh: of the noise that is new, over sigma there.
    """

    at: float
    ratio: float
    kept: float
    weights: tuple[float, ...]
    pull: float
    fresh: float


@lru_cache(maxsize=4096)
def _stages(tableau: Tableau, here: Point, there: Point, eta: float) -> tuple[_Stage, ...]:
    length = there.half_log_snr - here.half_log_snr
    rate = (1 + eta) * length

    def phi(k: int, c: float) -> float:
        return moments(c * rate, k)[-1] / math.factorial(k - 1) / c

    stages, before = [], 0.0
    for c, others in tableau(phi):
        pull = math.exp(-eta * (c - before) * length)
        stages.append(
            _Stage(
                at=c,
                ratio=here.ratio * math.exp(-c * length),
                kept=math.exp(-eta * c * length),
                weights=(c * phi(1, c) - sum(others), *others),
                pull=pull,
                fresh=math.sqrt(1 - pull * pull),
            )
        )
        before = c
    return tuple(stages)


@lru_cache
def two_stages(c: float, weights: Weights) -> Tableau:
    """The tableaux of order two with a second stage at c.

    Args:
        weights: "phi_2" meets the order conditions with the functions phi (Hochbruck & Ostermann
            2005, Eq. 5.3), "phi_1" up to the order alone (Eq. 5.4).
    """

    def tableau(phi: Phi) -> Rows:
        end = phi(2, 1) / c if weights == "phi_2" else phi(1, 1) / (2 * c)
        return (c, ()), (1.0, (end,))

    return tableau


@lru_cache
def three_stages(c2: float, c3: float) -> Tableau:
    """The tableaux of order three with stages at c2, other than 2/3, and c3 (Hochbruck & Ostermann
    2005, Eq. 5.8 and 5.9)."""
    gamma = (3 * c3 - 2) * c3 / ((2 - 3 * c2) * c2)

    def tableau(phi: Phi) -> Rows:
        inner = gamma * c2 * phi(2, c2) + c3 * c3 / c2 * phi(2, c3)
        end = phi(2, 1) / (gamma * c2 + c3)
        return (c2, ()), (c3, (inner,)), (1.0, (gamma * end, end))

    return tableau
