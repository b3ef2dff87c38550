"""xformers' memory-efficient attention."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from ldm_core.contracts import Kernel, runs_on
from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import Tensor


def xformers() -> Kernel:
    """xformers' memory_efficient_attention (Lefaudeux et al. 2022); needs a CUDA device.

    Needs the extra: pip install 'ldm-core[xformers]'.
    """
    if find_spec("xformers") is None:
        raise LdmError(
            "the attention 'xformers' needs the package xformers and a CUDA device.",
            "pip install 'ldm-core[xformers]'",
        )
    return memory_efficient


@runs_on("cuda", dtypes=("float32", "float16", "bfloat16"))
def memory_efficient(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """xformers' kernel in the layout of the contract."""
    from xformers.ops import memory_efficient_attention

    # (batch, heads, tokens, width) here, (batch, tokens, heads, width) there
    q, k, v = (t.transpose(1, 2).contiguous() for t in (q, k, v))
    bias = None if mask is None else _bias(mask, q)
    out = memory_efficient_attention(q, k, v, attn_bias=bias, scale=scale)
    return cast("Tensor", out.transpose(1, 2))


def _bias(mask: Tensor, q: Tensor) -> Tensor:
    """An additive (batch, heads, queries, keys) bias, in memory whose rows are 8-aligned."""
    import torch

    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -torch.inf)
    batch, queries, heads, _ = q.shape
    keys = mask.shape[-1]
    room = q.new_zeros((batch, heads, queries, -(-keys // 8) * 8))
    room[..., :keys] = mask.to(q.dtype)
    return room[..., :keys]
