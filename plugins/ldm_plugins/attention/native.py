"""Torch's own attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import torchs_own

if TYPE_CHECKING:
    from torch import Tensor


@torchs_own
def native(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Torch's scaled_dot_product_attention, which picks a fused kernel where the device has one."""
    from torch.nn.functional import scaled_dot_product_attention

    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
