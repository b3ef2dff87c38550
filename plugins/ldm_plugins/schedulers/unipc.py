"""UniPC."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor

Estimate = tuple[Point, "Tensor"]


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
    seen: deque[Estimate] = deque(maxlen=order)  # newest first
    left: tuple[Tensor, Point, int] | None = None  # where the last step began, and its order
    steps = len(grid) - 1
    for i, (here, there) in enumerate(pairwise(grid)):
        x0 = denoise(x, here)
        if left is not None:
            start, behind, used = left
            x = _step(start, behind, here, list(seen)[:used], x0, variant)
        left = None
        if here.alpha == 0:
            x = move(x, x0, here, there)
            continue
        seen.appendleft((here, x0))
        used = min(len(seen), steps - i) if lower_order_final else len(seen)
        start = x
        known = list(seen)[:used]
        x = _step(x, here, there, known, None, variant) if there.sigma > 0 else x0
        left = (start, here, used)
    return x


def _step(
    x: Tensor,
    here: Point,
    there: Point,
    known: Sequence[Estimate],
    ahead: Tensor | None,
    variant: Literal["bh1", "bh2"],
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
    scale = -h if variant == "bh1" else math.expm1(-h)
    if len(slopes) == 1:
        weights = [0.5]  # the paper's choice; it holds to the order for any B(h)
    else:
        phi = math.expm1(-h) / -h - 1
        targets, factorial = [], 1
        for k in range(1, len(slopes) + 1):
            targets.append(phi * factorial / scale)
            factorial *= k + 1
            phi = phi / -h - 1 / factorial
        powers = np.array([[node**k for node in nodes] for k in range(len(nodes))])
        weights = np.linalg.solve(powers, np.array(targets)).tolist()
    for weight, slope in zip(weights, slopes, strict=True):
        moved = moved - (there.alpha * scale * weight) * slope
    return moved
