"""xformers' memory-efficient attention."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from ldm_core.contracts import Kernel, lacking, runs_on
from ldm_plugins.attention.shared.masks import as_aligned

if TYPE_CHECKING:
    from torch import Tensor


def xformers() -> Kernel:
    """xformers' memory_efficient_attention (Lefaudeux et al. 2022); needs a CUDA device.

    Needs the extra: pip install 'ldm-core[xformers]'.
    """
    kernel = replace(memory_efficient, name="xformers")
    if find_spec("xformers") is not None:
        return kernel
    return lacking(
        kernel, "the package xformers and a CUDA device", "pip install 'ldm-core[xformers]'"
    )


@runs_on("cuda", dtypes=("float32", "float16", "bfloat16"), fused=True)
def memory_efficient(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """xformers' kernel in the layout of the contract."""
    from xformers.ops import memory_efficient_attention

    bias = as_aligned(mask, q, k, 8)  # (batch, heads, queries, keys)
    # (batch, heads, tokens, width) here, (batch, tokens, heads, width) there
    q, k, v = (t.transpose(1, 2).contiguous() for t in (q, k, v))
    out = memory_efficient_attention(q, k, v, attn_bias=bias, scale=scale)
    return cast("Tensor", out.transpose(1, 2))
