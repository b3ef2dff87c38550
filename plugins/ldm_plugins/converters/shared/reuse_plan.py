"""Which calls of a run compute features anew, for a number of them.

By the scheduler: an error e in what the network answers at the i-th call moves the final latent by
weight[i]·e, to first order. The weight follows from the scheduler's own coefficients, which a trace
gives, and from how later estimates follow the latent, for which Gaussian data of unit variance, of
which the exact denoiser is known, stands. Features that were computed at another point err by about
as much as the two points are apart in log-SNR. So the calls to compute are those for which the sum
of weight times distance squared, over the calls that reuse, is least; dynamic programming finds
them exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ldm_core.numerics.point import Point

END = 7.0
"""Of half log-SNR, where sigma/alpha is about 1000 or its inverse."""
FORBIDDEN = 1e30
"""The cost of a call that may not reuse."""

if TYPE_CHECKING:
    from ldm_core.conformance.trace import Trace
    from ldm_core.numerics.prediction import PredictionType


def end_weights(traced: Trace, prediction_type: PredictionType) -> list[float]:
    """How far the final latent moves for an error of 1 in the network's answer at each call.

    An estimate moves the end directly, by its coefficient there, and through each later call, whose
    x it is a part of and whose estimate follows x by alpha / (alpha² + sigma²), as on Gaussian data
    of unit variance: the sum is taken backwards, from the last call to the first.
    """
    calls = traced.calls
    slopes = [0.0] * len(calls)
    for k in range(len(calls) - 1, -1, -1):
        symbol = f"x0[{k}]"
        slopes[k] = traced.end[symbol] + math.fsum(
            slopes[j] * _follows(calls[j].point) * calls[j].x[symbol]
            for j in range(k + 1, len(calls))
        )
    return [
        abs(slope) * _of_output(prediction_type, call.point)
        for slope, call in zip(slopes, calls, strict=True)
    ]


def _follows(point: Point) -> float:
    return point.alpha / (point.alpha**2 + point.sigma**2)


def _of_output(prediction_type: PredictionType, point: Point) -> float:
    """How far x0 moves for an error of 1 in the output that it is made of."""
    import torch

    none, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    if prediction_type.needs_signal and point.alpha == 0:
        return math.inf
    moved = prediction_type.to_x0(one, none, point) - prediction_type.to_x0(none, none, point)
    return abs(float(moved))


def distances(points: Sequence[Point]) -> list[list[float]]:
    """How far each point is from each other one in half log-SNR, whose ends are cut off."""
    places = [min(max(point.half_log_snr, -END), END) for point in points]
    return [[abs(one - other) for other in places] for one in places]


def best_calls(costs: Sequence[Sequence[float]], count: int) -> list[int]:
    """The calls to compute, the first among them, for the least sum of costs over the others.

    Args:
        costs: ``costs[c][i]``, of call i where it reuses what call c computed, c < i.
        count: how many are computed.
    """
    import numpy as np

    n = len(costs)
    count = min(max(count, 1), n)
    # spent[c, e]: of the calls between c and e, which reuse what c computed
    spent = np.full((n, n + 1), math.inf)
    for c in range(n):
        spent[c, c + 1 :] = np.cumsum([0.0, *costs[c][c + 1 :]])
    best = np.full(n + 1, math.inf)  # of so many calls, the least with so many of them computed
    best[0] = 0.0
    lasts = []
    for _ in range(count):
        totals = best[:n, None] + spent
        lasts.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    chosen, end = [], n
    for last in reversed(lasts):
        end = int(last[end])
        chosen.append(end)
    return chosen[::-1]


def calls_to_compute(
    traced: Trace, prediction_type: PredictionType, every: int, free: Sequence[bool]
) -> list[int]:
    """The calls to compute, as many as every so many would be, for the least error at the end.

    Args:
        free: of each call, whether it may reuse; those that may not are computed beyond that
            number where they are more.
    """
    points = [call.point for call in traced.calls]
    weights = end_weights(traced, prediction_type)
    apart = distances(points)
    costs = [
        [weights[i] * apart[c][i] ** 2 if free[i] else FORBIDDEN for i in range(len(points))]
        for c in range(len(points))
    ]
    bound = sum(not may for may in free[1:]) + 1
    return best_calls(costs, max(math.ceil(len(points) / every), bound))
