"""Memory-efficient attention in plain torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from ldm_core.contracts import runs_on

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 1024
KEYS, SCORES = 512, 2**20
"""On a processor: keys at a time, and scores of all heads together, 4 MiB, which caches hold."""


@runs_on()
def chunked(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float,
    *,
    query_chunk: PositiveInt | None = None,
    key_chunk: PositiveInt | None = None,
) -> Tensor:
    """Exact attention in pieces, without the matrix of all scores (Rabe & Staats 2021,
    arXiv:2112.05682, Section 3).

    Keys are summed piece by piece, with the greatest score so far kept for stability; memory
    beside the result is constant in the sequence length. Scores and sums are in float32.

    Args:
        query_chunk: queries at a time; where nothing is said as many as a processor's cache holds
            the scores of, and 1024 on other devices.
        key_chunk: keys at a time; where nothing is said 512 on a processor, and 1024 elsewhere.
    """
    import torch

    queries, keys = q.shape[-2], k.shape[-2]
    on_cpu = q.device.type == "cpu"
    key_chunk = key_chunk or (KEYS if on_cpu else CHUNK)
    if query_chunk is None:
        beside = math.prod(q.shape[:-2]) * min(key_chunk, keys)
        query_chunk = max(SCORES // beside, 64) if on_cpu else CHUNK
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
            shrink = high.sub_(origin).exp_()
            weight.mul_(shrink).add_(scores.sum(-1, keepdim=True))
            total.mul_(shrink).add_(scores @ v[..., columns, :].float())
            high = higher
        # A row that sees no key at all gives zero, as torch's own attention does.
        out[..., rows, :] = total.div_(weight.masked_fill_(weight == 0, 1.0))
    return out
