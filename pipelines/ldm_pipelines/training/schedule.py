"""The learning rate over a run: linear warm-up, then a cosine down to zero."""

from __future__ import annotations

import math


def learning_rate_factor(step: int, *, steps: int, warmup: int) -> float:
    """What multiplies the peak learning rate at `step` (0 … steps-1).

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5, one cycle.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
