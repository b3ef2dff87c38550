"""UniPC."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.point import Point
from ldm_core.steps import move

if TYPE_CHECKING:
    from torch import Tensor

Estimate = tuple[Point, "Tensor"]


def unipc(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, order: Literal[1, 2, 3] = 2
) -> Tensor:
    """UniPC with B(h) = e^h - 1 on x0 estimates (Zhao et al. 2023, arXiv:2302.04867, Alg. 5-8).

    Every evaluation also corrects the step that led to it, so the order is one higher than the
    predictor's at no cost. The last step is of order one, the one before it of order two.

    Args:
        order: of the predictor, 1 to 3; lower in the first steps.
    """
    seen: deque[Estimate] = deque(maxlen=order)  # newest first
    left: tuple[Tensor, Point, int] | None = None  # where the last step began, and its order
    steps = len(grid) - 1
    for i, (here, there) in enumerate(pairwise(grid)):
        x0 = denoise(x, here)
        if left is not None:
            start, behind, used = left
            x = _step(start, behind, here, list(seen)[:used], x0)
        left = None
        if here.alpha == 0:
            x = move(x, x0, here, there)
            continue
        seen.appendleft((here, x0))
        used = min(len(seen), steps - i)
        start = x
        x = _step(x, here, there, list(seen)[:used], None) if there.sigma > 0 else x0
        left = (start, here, used)
    return x


def _step(
    x: Tensor, here: Point, there: Point, known: Sequence[Estimate], ahead: Tensor | None
) -> Tensor:
    """From here to there by the known estimates, and in the corrector the one ahead.

    Args:
        known: the estimate here, then earlier ones.
    """
    import numpy as np

    x0 = known[0][1]
    h = there.half_log_snr - here.half_log_snr
    nodes = [(point.half_log_snr - here.half_log_snr) / h for point, _ in known[1:]]
    slopes = [(e - x0) * (1 / node) for node, (_, e) in zip(nodes, known[1:], strict=True)]
    if ahead is not None:
        nodes, slopes = [*nodes, 1.0], [*slopes, ahead - x0]
    moved = move(x, x0, here, there)
    if not slopes:
        return moved
    if len(slopes) == 1:
        weights = [0.5]  # the paper's choice; it holds to the order for any B(h)
    else:
        phi = math.expm1(-h) / -h - 1
        targets, factorial = [], 1
        for k in range(1, len(slopes) + 1):
            targets.append(phi * factorial / math.expm1(-h))
            factorial *= k + 1
            phi = phi / -h - 1 / factorial
        powers = np.array([[node**k for node in nodes] for k in range(len(nodes))])
        weights = np.linalg.solve(powers, np.array(targets)).tolist()
    for weight, slope in zip(weights, slopes, strict=True):
        moved = moved - (there.alpha * math.expm1(-h) * weight) * slope
    return moved
