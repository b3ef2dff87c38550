"""What an attention kernel must do: equal torch's own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from ldm_core.contracts import Attention, Kernel, as_kernel

# (batch, heads, queries, keys, width): even and odd, self and cross, and a width of 40 as in SD 1
SHAPES = ((1, 1, 1, 1, 8), (2, 3, 64, 64, 16), (1, 2, 100, 77, 40), (2, 4, 257, 129, 64))


def check_attention(
    kernel: Kernel | Attention,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    tolerance: float = 1e-5,
) -> None:
    """See that a kernel equals ``scaled_dot_product_attention``, with and without masks.

    Raises:
        AssertionError: a result differs by more than the tolerance, in shape, or in dtype.
    """
    attend = as_kernel(kernel).call
    generator = torch.Generator().manual_seed(0)
    for batch, heads, queries, keys, width in SHAPES:

        def draw(*shape: int) -> Any:
            return torch.randn(shape, generator=generator).to(device, dtype)

        q = draw(batch, heads, queries, width)
        k, v = draw(batch, heads, keys, width), draw(batch, heads, keys, width)
        seen = torch.rand(batch, 1, queries, keys, generator=generator) > 0.3
        seen[..., 0] = True
        masks = (None, seen.to(device), draw(1, heads, queries, keys), seen[:, :, :1].to(device))
        for mask in masks:
            for scale in (1 / math.sqrt(width), 0.5):
                out = attend(q, k, v, mask, scale)
                expected = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
                case = f"q {tuple(q.shape)}, keys {keys}, mask {mask is not None}, scale {scale:g}"
                if out.shape != expected.shape or out.dtype != expected.dtype:
                    raise AssertionError(f"{case}: {out.shape} {out.dtype}")
                worst = float((out - expected).abs().max())
                if not worst <= tolerance:
                    raise AssertionError(f"{case}: differs by {worst:.2g}")
