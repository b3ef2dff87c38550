"""Ways between two tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import Noise

if TYPE_CHECKING:
    from torch import Tensor

PARALLEL = 1e-4  # radians; below, the arc is a line


def slerp(first: Tensor, second: Tensor, weights: Sequence[float]) -> Tensor:
    """Along the arc between two tensors (Shoemake 1985), for each entry of the batch by itself.

    Between two draws of Gaussian noise the arc keeps the length that noise has, where a line would
    cut through the middle.

    Args:
        first, second: (batch, ...), same shape.
        weights: one for each entry; 0 gives `first` and 1 `second`, bit for bit.
    """
    import torch

    shape = (-1, *(1 for _ in first.shape[1:]))
    share = torch.tensor(weights, dtype=torch.float64, device=first.device)
    a, b = (t.double().flatten(1) for t in (first, second))
    lengths = (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-12)
    angle = ((a * b).sum(1) / lengths).clamp(-1, 1).acos()
    line = (angle < PARALLEL) | (angle > torch.pi - PARALLEL)
    arc = torch.where(line, torch.ones_like(angle), angle)
    of_first = torch.where(line, 1 - share, torch.sin((1 - share) * arc) / arc.sin()).view(shape)
    of_second = torch.where(line, share, torch.sin(share * arc) / arc.sin()).view(shape)
    between = (of_first * first.double() + of_second * second.double()).to(first.dtype)
    at = share.view(shape)
    return torch.where(at == 0, first, torch.where(at == 1, second, between))


class NoiseBetween:
    """``noise()`` on the arc between two noises, one weight an image."""

    def __init__(self, first: Noise, second: Noise, weights: Sequence[float]) -> None:
        self._ends = first, second
        self._weights = weights

    def __call__(self) -> Tensor:
        first, second = self._ends
        return slerp(first(), second(), self._weights)
