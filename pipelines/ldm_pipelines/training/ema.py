"""Exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Ema:
    """A slowly following copy of weights; it is the copy that is shipped.

    The decay warms up as (1 + n) / (10 + n), so that early averages forget the initial weights.

    Args:
        weights: name to tensor, the weights to follow.
        decay: 0 follows at once, 0.999 averages about the last thousand updates.
    Source: Ho et al. 2020, arXiv:2006.11239, appendix B.
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.average = {k: v.detach().float().clone() for k, v in weights.items()}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Move towards `weights`, those after update number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        names = list(self.average)
        torch._foreach_lerp_(
            [self.average[k] for k in names],
            [weights[k].detach().float() for k in names],
            1 - decay,
        )

    def load(self, average: Mapping[str, Tensor]) -> None:
        """Take over a stored average."""
        for name, value in self.average.items():
            value.copy_(average[name])
