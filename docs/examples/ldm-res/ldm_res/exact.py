"""An attention kernel: a yardstick for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import runs_on

if TYPE_CHECKING:
    from torch import Tensor


@runs_on("cpu", "cuda")
def exact(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Torch's own attention in float64, whatever the type of the model."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    if mask is not None and mask.dtype != torch.bool:
        mask = mask.double()
    wide = scaled_dot_product_attention(
        q.double(), k.double(), v.double(), attn_mask=mask, scale=scale
    )
    return wide.to(v.dtype)
