"""An attention kernel: it computes the layers of attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def plain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float,
    *,
    softmax_in_float64: bool = False,
) -> Tensor:
    """Softmax attention with the whole matrix of scores.

    Args:
        softmax_in_float64: compute the softmax in float64.
    """
    import torch

    scores = q @ k.transpose(-1, -2) * scale  # (batch, heads, queries, keys)
    if mask is not None and mask.dtype == torch.bool:  # False hides
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        scores = scores + mask
    kind = torch.float64 if softmax_in_float64 else torch.float32
    return scores.softmax(-1, dtype=kind).to(v.dtype) @ v
