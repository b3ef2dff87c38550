"""Torch's own attention."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

from ldm_core.contracts import Kernel, first_of, runs_on, torchs_own
from ldm_plugins.attention.shared.masks import as_additive, as_aligned

if TYPE_CHECKING:
    from torch import Tensor

HALF = ("float16", "bfloat16")


def native(*, backend: Literal["auto", "flash", "efficient", "cudnn", "math"] = "auto") -> Kernel:
    """Torch's scaled_dot_product_attention, which picks a fused kernel where the device has one.

    A backend that is named is called itself, and torch's switches, which hold for the whole
    process, stay as they are: other pipelines, in other threads, choose as ever.

    Args:
        backend: torch's choice ("auto"); FlashAttention ("flash": on CUDA in half precision,
            without masks); the memory-efficient kernel of CUDA ("efficient"); cuDNN's ("cudnn");
            or the formula, with the matrix of all scores ("math").
    """
    if backend == "auto":
        return automatic
    kernel = {"flash": flash, "efficient": efficient, "cudnn": cudnn, "math": math}[backend]
    return replace(kernel, name=f"native ({backend})")


@torchs_own
def automatic(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """What torch would call anyway."""
    from torch.nn.functional import scaled_dot_product_attention

    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


automatic = replace(automatic, name="native")


@runs_on("cpu", fused=True)
def flash_on_processor(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
) -> Tensor:
    """FlashAttention (Dao et al. 2022, arXiv:2205.14135) as torch has it for processors."""
    import torch

    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    additive = as_additive(mask, q)
    return cast("Tensor", attend(q, k, v, attn_mask=additive, scale=scale)[0])


@runs_on("cuda", dtypes=HALF, head_sizes=tuple(range(8, 257, 8)), masks=(), fused=True)
def flash_on_cuda(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """FlashAttention-2 (Dao 2023, arXiv:2307.08691) as torch has it for CUDA."""
    import torch

    attend = torch.ops.aten._scaled_dot_product_flash_attention
    return cast("Tensor", attend(q, k, v, scale=scale)[0])


flash = first_of(
    [replace(kernel, name="native (flash)") for kernel in (flash_on_processor, flash_on_cuda)]
)


@runs_on(
    "cuda",
    dtypes=("float32", *HALF),
    head_sizes=tuple(range(8, 1025, 8)),
    fused=True,
)
def efficient(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Memory-efficient attention (Rabe & Staats 2021, arXiv:2112.05682) as torch has it for
    CUDA."""
    import torch

    attend = torch.ops.aten._scaled_dot_product_efficient_attention
    bias = as_aligned(mask, q, k, 16)
    return cast("Tensor", attend(q, k, v, bias, False, scale=scale)[0])


@runs_on("cuda", dtypes=HALF, head_sizes=tuple(range(8, 129, 8)), fused=True)
def cudnn(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """cuDNN's fused attention."""
    import torch

    attend = torch.ops.aten._scaled_dot_product_cudnn_attention
    bias = as_aligned(mask, q, k, 16)
    return cast("Tensor", attend(q, k, v, bias, False, scale=scale)[0])


@runs_on()
def math(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """The formula as torch computes it, with the matrix of all scores."""
    import torch

    attend = torch.ops.aten._scaled_dot_product_attention_math
    return cast("Tensor", attend(q, k, v, as_additive(mask, q), scale=scale)[0])
