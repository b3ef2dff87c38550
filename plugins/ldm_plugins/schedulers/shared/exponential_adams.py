"""What exponential multistep schedulers share: how earlier estimates push a step along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


def drift(
    known: Sequence[tuple[Point, Tensor]],
    here: Point,
    there: Point,
    tau: float = 0.0,
    simple: bool = False,
) -> Tensor:
    """What the estimates add to x on the way from one point to another, both of finite log-SNR.

    x0 is the polynomial in lambda = ln(alpha/sigma) through the estimates, integrated exactly
    against the decay of the (stochastic) differential equation, by variation of constants.

    Args:
        known: estimates with their points, any order.
        tau: strength of the noise; 0 for the probability-flow ODE.
        simple: with two estimates, weigh the slope by half the step, right to the same order.
    Source: Xue et al. 2023, arXiv:2309.05019; tau = 0 is Hochbruck & Ostermann 2010, Exponential
        integrators, Section 2.5.
    """
    h = there.half_log_snr - here.half_log_snr
    nodes = [(point.half_log_snr - here.half_log_snr) / h for point, _ in known]
    rate = (1 + tau * tau) * h
    if simple and len(nodes) == 2:
        one = (rate / 2 + math.expm1(-rate) * nodes[1]) / (nodes[0] - nodes[1])
        weights = [one, -math.expm1(-rate) - one]
    else:
        weights = adams_weights(nodes, rate)
    total = there.alpha * weights[0] * known[0][1]
    for weight, (_, x0) in list(zip(weights, known, strict=True))[1:]:
        total = total + there.alpha * weight * x0
    return total


def adams_weights(nodes: Sequence[float], rate: float) -> list[float]:
    """Integrals over v from 0 to 1 of rate·exp(-rate·(1 - v)) and the nodes' Lagrange polynomials.

    Args:
        nodes: where the estimates lie; 0 is the step's start, 1 its end.
    """
    from numpy.polynomial import Polynomial

    moments = _moments(rate, len(nodes))
    weights = []
    for j, node in enumerate(nodes):
        basis = Polynomial([1.0])
        for k, other in enumerate(nodes):
            if k != j:
                basis *= Polynomial([-other, 1.0]) / (node - other)
        coefficients: list[float] = basis.coef.tolist()
        weights.append(sum(c * m for c, m in zip(coefficients, moments, strict=True)))
    return weights


def _moments(rate: float, count: int) -> list[float]:
    """The same integrals of v⁰, v¹, ..."""
    if rate > 1:
        moments = [-math.expm1(-rate)]
        for k in range(1, count):
            moments.append(1 - k / rate * moments[-1])
        return moments
    # At small rates that recursion cancels; the series' terms are all positive.
    first = rate * math.exp(-rate)
    terms = [first * rate**j / math.factorial(j) for j in range(20)]
    return [sum(term / (j + k + 1) for j, term in enumerate(terms)) for k in range(count)]
