"""UniPC."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.numerics.factor import factor
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


def unipc(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    order: Literal[1, 2, 3] = 2,
    variant: Literal["bh1", "bh2"] = "bh2",
    lower_order_final: bool = True,
) -> Tensor:
    """UniPC, a predictor and corrector on x0 estimates (Zhao et al. 2023, arXiv:2302.04867,
    Alg. 5-8).

    Every evaluation also corrects the step that led to it, so the order is one higher than the
    predictor's at no cost.

    Args:
        order: of the predictor, 1 to 3; lower in the first steps.
        variant: the paper's B(h), "bh1" for h and "bh2" for e^h - 1; they differ where the
            predictor is of order two or the corrected one of order one.
        lower_order_final: end with steps of order two and one, for stability.
    """
    history: deque[tuple[Point, Tensor]] = deque(maxlen=order)  # newest first
    left: _Step | None = None  # the last step, until the estimate at its end corrects it
    steps = len(grid) - 1 + grid.after  # of a part, those of the whole way
    for i, (here, there) in enumerate(pairwise(grid)):
        x0 = denoise(x, here)
        ahead: Tensor | None = None  # how far this estimate lies from the one before
        if left is not None:
            ahead = x0 - left.x0
            x = _bend(left.end, left.weights.corrector, [*left.slopes, ahead])
        left = None
        if here.alpha == 0:
            x = move(x, x0, here, there)
            continue
        if there.sigma == 0:
            x = x0
            continue
        history.appendleft((here, x0))
        count = min(len(history), steps - i) if lower_order_final else len(history)
        estimates = list(history)[:count]
        weights = _weights(tuple([point for point, _ in estimates]), there, variant)
        slopes = [
            _slope(x0, other, rate, ahead if k == 0 else None)
            for k, (rate, (_, other)) in enumerate(zip(weights.rates, estimates[1:], strict=True))
        ]
        left = _Step(move(x, x0, here, there), x0, slopes, weights)
        x = _bend(left.end, weights.predictor, slopes)
    return x


class _Weights(NamedTuple):
    """Coefficients of a step.

    Attributes:
        rates: what differences of the estimates are multiplied by to be slopes over the step.
        predictor, corrector: weights of the slopes; the corrector has one more, to the step's end.
    """

    rates: tuple[float, ...]
    predictor: tuple[float, ...]
    corrector: tuple[float, ...]


class _Step(NamedTuple):
    """What the corrector of a step goes by: where the step of order one ends, the estimate at its
    start, the slopes from there to earlier ones."""

    end: Tensor
    x0: Tensor
    slopes: list[Tensor]
    weights: _Weights


def _slope(x0: Tensor, other: Tensor, rate: float, ahead: Tensor | None) -> Tensor:
    """The slope over a step from an estimate to another one.

    Args:
        ahead: the difference x0 - other, where it is there already.
    """
    if ahead is not None:
        return factor(-rate, ahead) * ahead
    slope = other - x0
    slope *= factor(rate, slope)
    return slope


def _bend(end: Tensor, weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    """Move the end of a step of order one by the slopes of x0; it is left as it is."""
    bent = end
    for weight, slope in zip(weights, slopes, strict=True):
        by = factor(-weight, slope) * slope
        if bent is end:
            by += end
            bent = by
        else:
            bent += by
    return bent


@lru_cache(maxsize=4096)
def _weights(points: tuple[Point, ...], there: Point, variant: str) -> _Weights:
    """The coefficients of a step to there.

    Args:
        points: of the estimates; the step's start, then earlier ones.
    """
    start = points[0].half_log_snr
    h = there.half_log_snr - start
    nodes = [(point.half_log_snr - start) / h for point in points[1:]]
    scale = -h if variant == "bh1" else math.expm1(-h)
    predictor, corrector = (
        tuple([there.alpha * scale * weight for weight in _shares(places, h, scale)])
        for places in (nodes, [*nodes, 1.0])
    )
    return _Weights(tuple([1 / node for node in nodes]), predictor, corrector)


def _shares(nodes: Sequence[float], h: float, scale: float) -> list[float]:
    """Weights of the slopes to the nodes, in units of the scale, the paper's B(h) (Eq. 5)."""
    import numpy as np

    if len(nodes) < 2:
        return [0.5] * len(nodes)  # the paper's choice; it holds to the order for any B(h)
    phi = math.expm1(-h) / -h - 1
    targets, factorial = [], 1
    for k in range(1, len(nodes) + 1):
        targets.append(phi * factorial / scale)
        factorial *= k + 1
        phi = phi / -h - 1 / factorial
    powers = np.array([[node**k for node in nodes] for k in range(len(nodes))])
    solution: list[float] = np.linalg.solve(powers, np.array(targets)).tolist()
    return solution
