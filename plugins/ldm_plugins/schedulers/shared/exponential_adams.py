"""What exponential multistep schedulers share: how earlier estimates push a step along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.lagrange import lagrange

if TYPE_CHECKING:
    from torch import Tensor


def drift(
    estimates: Sequence[tuple[Point, Tensor]],
    here: Point,
    there: Point,
    tau: float = 0.0,
    simple: bool = False,
) -> list[tuple[float, Tensor]]:
    """What estimates add to x on the way from one point to another, both of finite log-SNR: each
    with its weight.

    x0 is the polynomial in lambda = ln(alpha/sigma) through the estimates, integrated exactly
    against the decay of the (stochastic) differential equation, by variation of constants.

    Args:
        estimates: estimates with their points, any order.
        tau: strength of the noise; 0 for the probability-flow ODE.
        simple: with two estimates, weigh the slope by half the step, right to the same order.
    Source: Xue et al. 2023, arXiv:2309.05019; tau = 0 is Hochbruck & Ostermann 2010, Exponential
        integrators, Section 2.5.
    """
    weights = _weights(tuple([point for point, _ in estimates]), here, there, tau, simple)
    return [(weight, x0) for weight, (_, x0) in zip(weights, estimates, strict=True)]


@lru_cache(maxsize=4096)
def _weights(
    points: tuple[Point, ...], here: Point, there: Point, tau: float, simple: bool
) -> tuple[float, ...]:
    """What the estimates at these points are multiplied by."""
    h = there.half_log_snr - here.half_log_snr
    nodes = [(point.half_log_snr - here.half_log_snr) / h for point in points]
    rate = (1 + tau * tau) * h
    if simple and len(nodes) == 2:
        one = (rate / 2 + math.expm1(-rate) * nodes[1]) / (nodes[0] - nodes[1])
        weights = [one, -math.expm1(-rate) - one]
    else:
        weights = adams_weights(nodes, rate)
    return tuple(there.alpha * weight for weight in weights)


def adams_weights(nodes: Sequence[float], rate: float) -> list[float]:
    """Integrals over v from 0 to 1 of rate·exp(-rate·(1 - v)) and the nodes' Lagrange polynomials.

    Args:
        nodes: where the estimates lie; 0 is the step's start, 1 its end.
    """
    integrals = moments(rate, len(nodes))
    return [
        sum(c * m for c, m in zip(polynomial, integrals, strict=True))
        for polynomial in lagrange(nodes)
    ]


def moments(rate: float, count: int) -> list[float]:
    """Integrals over v from 0 to 1 of rate·exp(-rate·(1 - v)) and v⁰, v¹, ...

    That of v to the k is rate·k! times the function phi of order k + 1 at -rate (Hochbruck &
    Ostermann 2010, Exponential integrators, Eq. 2.10).
    """
    if rate > 1:
        integrals = [-math.expm1(-rate)]
        for k in range(1, count):
            integrals.append(1 - k / rate * integrals[-1])
        return integrals
    # At small rates that recursion cancels; the series' terms are all positive.
    first = rate * math.exp(-rate)
    terms = [first * rate**j / math.factorial(j) for j in range(20)]
    return [sum(term / (j + k + 1) for j, term in enumerate(terms)) for k in range(count)]
