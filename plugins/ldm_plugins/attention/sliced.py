"""Attention one head of one image after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from ldm_core.contracts import runs_on

if TYPE_CHECKING:
    from torch import Tensor


@runs_on()
def sliced(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float,
    *,
    heads: PositiveInt = 1,
) -> Tensor:
    """Attention by the formula, a few heads at a time, as Diffusers' attention slicing.

    The matrix of scores is made for so many heads of so many images at once; `chunked` makes none.
    Scores and their softmax are in float32.

    Args:
        heads: heads at a time, those of different images counted alike.
    """
    import torch

    batch, count, queries, _ = q.shape
    out = q.new_empty((batch * count, queries, v.shape[-1]))
    flat = [tensor.expand(batch, *tensor.shape[1:]).flatten(0, 1) for tensor in (q, k, v)]
    if mask is not None:
        mask = mask.expand(batch, count, *mask.shape[-2:]).flatten(0, 1)
    for first in range(0, len(out), heads):
        piece = slice(first, first + heads)
        queried, keys, values = (tensor[piece].float() for tensor in flat)
        scores = torch.bmm(queried * scale, keys.transpose(1, 2))
        if mask is not None and mask.dtype == torch.bool:
            scores.masked_fill_(~mask[piece], -torch.inf)
        elif mask is not None:
            scores += mask[piece]
        weights = scores.softmax(-1)
        if mask is not None:  # a query that sees no key gives zero, as torch's own attention does
            weights.nan_to_num_(0.0)
        out[piece] = torch.bmm(weights, values)
    return out.view(batch, count, *out.shape[1:])
