"""Torch's flexible attention."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from ldm_core.contracts import runs_on
from ldm_plugins.attention.shared.masks import as_additive

if TYPE_CHECKING:
    from torch import Tensor


@runs_on("cpu", "cuda", "xpu", dtypes=("float32", "float16", "bfloat16"), fused=True)
def flex(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Torch's flex_attention (Dong et al. 2024, arXiv:2412.05496), compiled at the first call, once
    for all sizes; a mask is added to the scores within the kernel."""
    additive = as_additive(mask, q)
    if additive is None:
        return cast("Tensor", _compiled()(q, k, v, scale=scale))
    bias = additive.expand(*q.shape[:-1], k.shape[-2])

    def masked(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + bias[b, h, i, j]

    return cast("Tensor", _compiled()(q, k, v, score_mod=masked, scale=scale))


@cache
def _compiled() -> Callable[..., Any]:
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
