"""Memory-efficient attention in plain torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

if TYPE_CHECKING:
    from torch import Tensor


def chunked(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float,
    *,
    query_chunk: PositiveInt = 1024,
    key_chunk: PositiveInt = 1024,
) -> Tensor:
    """Exact attention in pieces, without the matrix of all scores (Rabe & Staats 2021,
    arXiv:2112.05682, Section 3).

    Keys are summed piece by piece, with the greatest score so far kept for stability; memory
    beside the result is constant in the sequence length. Scores and sums are in float32.

    Args:
        query_chunk: queries at a time.
        key_chunk: keys at a time.
    """
    import torch

    queries, keys = q.shape[-2], k.shape[-2]
    out = q.new_empty((*q.shape[:-1], v.shape[-1]))
    if mask is not None:
        mask = mask.expand((*mask.shape[:-2], queries, keys))
    for i in range(0, queries, query_chunk):
        rows = slice(i, i + query_chunk)
        part = q[..., rows, :].float() * scale
        high = part.new_full((*part.shape[:-1], 1), -torch.inf)
        weight = torch.zeros_like(high)
        total = part.new_zeros((*part.shape[:-1], v.shape[-1]))
        for j in range(0, keys, key_chunk):
            columns = slice(j, j + key_chunk)
            scores = part @ k[..., columns, :].float().transpose(-1, -2)
            if mask is not None:
                piece = mask[..., rows, columns]
                if piece.dtype == torch.bool:
                    scores.masked_fill_(~piece, -torch.inf)
                else:
                    scores += piece
            higher = torch.maximum(high, scores.amax(-1, keepdim=True))
            # A row that sees no key yet has no greatest score; measure it from 0.
            origin = higher.masked_fill(higher == -torch.inf, 0.0)
            scores.sub_(origin).exp_()
            shrink = (high - origin).exp()
            weight = weight * shrink + scores.sum(-1, keepdim=True)
            total = total * shrink + scores @ v[..., columns, :].float()
            high = higher
        # A row that sees no key at all gives zero, as torch's own attention does.
        out[..., rows, :] = total / weight.masked_fill(weight == 0, 1.0)
    return out
