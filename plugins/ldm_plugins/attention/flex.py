"""Torch's flexible attention."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from ldm_core.contracts import runs_on
from ldm_plugins.attention.shared.masks import as_additive

if TYPE_CHECKING:
    from torch import Tensor

SHAPES = 256
"""So many shapes are compiled for at the most, where torch lets one say so; by itself it is 8."""


@runs_on("cpu", "cuda", "xpu", dtypes=("float32", "float16", "bfloat16"), fused=True)
def flex(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Torch's flex_attention (Dong et al. 2024, arXiv:2412.05496); a mask is added to the scores
    within the kernel. It is compiled for each shape when that is first met, which takes seconds,
    and on a processor a C++ compiler."""
    bias = as_additive(mask, q)
    if bias is None:
        return cast("Tensor", _compiled()(q, k, v, scale=scale))
    bias = bias.expand(*q.shape[:-1], k.shape[-2])

    def masked(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + bias[b, h, i, j]

    return cast("Tensor", _compiled()(q, k, v, score_mod=masked, scale=scale))


@cache
def _compiled() -> Callable[..., Any]:
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    # as a whole, or not at all: torch would compute the rest by the formula, and say nothing
    options: dict[str, Any] = {"dynamic": False, "fullgraph": True}
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        options["recompile_limit"] = SHAPES
    return torch.compile(flex_attention, **options)
