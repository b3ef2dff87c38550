"""UniPC."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Literal, NamedTuple

from ldm_core.contracts import Denoise, Grid, Noise, Scheduler, of_order
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum

if TYPE_CHECKING:
    from torch import Tensor


Variant = Literal["bh1", "bh2"]


def unipc(
    *,
    order: Literal[1, 2, 3] = 2,
    variant: Variant = "bh2",
    lower_order_final: bool = True,
) -> Scheduler:
    """UniPC, a predictor and corrector on x0 estimates (Zhao et al. 2023, arXiv:2302.04867,
    Alg. 5-8).

    Every evaluation also corrects the step that led to it, so the order is one higher than the
    predictor's at no cost.

    Args:
        order: of the predictor, 1 to 3; lower in the first steps.
        variant: the paper's B(h), "bh1" for h and "bh2" for e^h - 1; they differ where the
            predictor is of order two or the corrected one of order one.
        lower_order_final: end with steps of order two and one, for stability; the whole is of order
            two then.
    """
    reached = 2 if lower_order_final else order + 1

    @of_order(reached)
    def walk(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
        return _walk(x, grid, denoise, order, variant, lower_order_final)

    return walk


def _walk(
    x: Tensor, grid: Grid, denoise: Denoise, order: int, variant: Variant, lower_order_final: bool
) -> Tensor:
    history: deque[tuple[Point, Tensor]] = deque(maxlen=order)  # newest first
    correction: Sequence[float] = ()  # of x, in the estimates: the one at x and those before it
    steps = len(grid) - 1 + grid.after  # of a part, those of the whole way
    for i, (here, there) in enumerate(pairwise(grid)):
        x0 = denoise(x, here)
        if there.sigma == 0:
            x = x0
            continue
        if here.alpha == 0:
            x = move(x, x0, here, there)
            continue
        latest = [(here, x0), *history]
        count = min(len(latest), order, steps - i if lower_order_final else order)
        step = _weights(tuple([point for point, _ in latest[:count]]), there, variant)
        weights = [
            step.kept * corrected + predicted
            for corrected, predicted in zip_longest(correction, step.predictor, fillvalue=0.0)
        ]
        estimates = [estimate for _, estimate in latest]
        x = weighted_sum((step.kept, x), *zip(weights, estimates, strict=False))
        history.appendleft((here, x0))
        correction = step.corrector
    return x


class _Weights(NamedTuple):
    """Coefficients of a step.

    Attributes:
        kept: of x at its start.
        predictor: of the estimates, the newest first.
        corrector: what the estimate at the end, and then these, are multiplied by to be what the
            end must still be moved by.
    """

    kept: float
    predictor: tuple[float, ...]
    corrector: tuple[float, ...]


@lru_cache(maxsize=4096)
def _weights(points: tuple[Point, ...], there: Point, variant: str) -> _Weights:
    """The coefficients of a step to there.

    Args:
        points: of the estimates; the step's start, then earlier ones.
    """
    here, kept = points[0], there.sigma / points[0].sigma
    h = there.half_log_snr - here.half_log_snr
    nodes = [(point.half_log_snr - here.half_log_snr) / h for point in points[1:]]
    scale = -h if variant == "bh1" else math.expm1(-h)
    by = there.alpha * scale
    # Slopes over the step, (estimate - x0)/node, to earlier estimates and, corrected, to its end.
    predicted = [
        -by * share / node for share, node in zip(_shares(nodes, h, scale), nodes, strict=True)
    ]
    *slopes, at_end = [-by * share for share in _shares([*nodes, 1.0], h, scale)]
    corrected = [slope / node for slope, node in zip(slopes, nodes, strict=True)]
    change = [new - old for new, old in zip(corrected, predicted, strict=True)]
    of_x0 = there.alpha - kept * here.alpha
    return _Weights(
        kept,
        (of_x0 - sum(predicted), *predicted),
        (at_end, -at_end - sum(change), *change),
    )


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
