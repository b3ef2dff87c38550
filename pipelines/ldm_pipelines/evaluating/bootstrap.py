"""How sure a figure is."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

from ldm_core.contracts import Metric

if TYPE_CHECKING:
    from torch import Tensor

SEED = 0
LEVEL = 0.95
MOST_VALUES = 1024
"""Of a row, up to which sets are resampled where nobody asks for it: a hundred Fréchet distances of
768 values take 25 s of one processor, of 2048 values 6 min."""


def interval(
    metric: Metric, figure: float, rows: Tensor, *reference_rows: Tensor, resamples: int | None
) -> tuple[float, float] | None:
    """The interval that holds the figure of other pictures of the same kind in 95 of 100 cases:
    how far figures of pictures that are drawn again lie around their own mean, laid around the
    figure itself.

    Of metrics of each picture, as many are drawn with repetition, the bootstrap (Efron & Tibshirani
    1993, Chapter 13). Of two sets, half of each without repetition, the jackknife that deletes half
    (Shao & Tu 1995, Section 2.3): a picture that is there twice is nearer to itself than to any
    other, which kernel distances take for a difference. It is right for sets that differ, and up to
    twice too wide for such that do not.

    Args:
        resamples: how many; the metric's own number where left out.
    Returns:
        None where there is none: of too few pictures, of figures that are not finite, or of rows so
        long that nobody would wait.
    """
    import torch

    count = metric.resamples if resamples is None else resamples
    long = metric.figure is not None and rows.shape[1] > MOST_VALUES
    if count < 2 or len(rows) < 2 or not math.isfinite(figure) or (long and resamples is None):
        return None
    of_sets = bool(reference_rows)
    if of_sets and min(len(rows), len(reference_rows[0])) < 2 * metric.least:
        return None
    generator = torch.Generator().manual_seed(SEED)

    def again(one: Tensor) -> Tensor:
        if of_sets:
            return one[torch.randperm(len(one), generator=generator)[: len(one) // 2]]
        return one[torch.randint(len(one), (len(one),), generator=generator)]

    figures: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is said of these pictures is said once
        for _ in range(count):
            figures.append(metric.of_rows(*map(again, (rows, *reference_rows))))
    drawn = torch.tensor(figures, dtype=torch.float64)
    if not drawn.isfinite().all():
        return None
    around = drawn - drawn.mean() + figure
    ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = around.quantile(ends).tolist()
    within = (
        metric.lowest if metric.lowest is not None else -math.inf,
        metric.highest if metric.highest is not None else math.inf,
    )
    return max(low, within[0]), min(high, within[1])
