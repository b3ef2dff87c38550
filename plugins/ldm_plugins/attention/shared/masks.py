"""Masks as fused kernels want them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def as_additive(mask: Tensor | None, q: Tensor) -> Tensor | None:
    """A mask that is added to scores, in the type of q: -inf where a boolean one hides.

    Args:
        mask: boolean or additive, of any shape that a layer's scores can be broadcast to.
    """
    import torch

    if mask is None:
        return None
    if mask.dtype == torch.bool:
        hidden = torch.zeros_like(mask, dtype=q.dtype)
        return hidden.masked_fill_(~mask, -torch.inf)
    return mask.to(q.dtype)


def as_aligned(mask: Tensor | None, q: Tensor, k: Tensor, multiple: int) -> Tensor | None:
    """An additive mask (batch, heads, queries, keys) in memory whose rows are aligned.

    Args:
        q, k: (batch, heads, tokens, width).
        multiple: of so many numbers; a row's memory has such a length.
    """
    additive = as_additive(mask, q)
    if additive is None:
        return None
    keys = k.shape[-2]
    room = q.new_zeros((*q.shape[:-1], -(-keys // multiple) * multiple))
    room[..., :keys] = additive
    return room[..., :keys]
