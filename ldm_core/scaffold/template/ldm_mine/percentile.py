"""A wrapper: it lies around the denoiser, network, conditions and guidance inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ldm_core.contracts import Denoise
from ldm_core.numerics.point import Point
from pydantic import Field

if TYPE_CHECKING:
    from torch import Tensor


def percentile(denoise: Denoise, *, kept: Annotated[float, Field(gt=0, le=1)] = 0.995) -> Denoise:
    """Dynamic thresholding of x0 (Saharia et al. 2022, arXiv:2205.11487, Section 2.3).

    Args:
        kept: share of absolute values that stay as they are.
    """

    def within(x: Tensor, point: Point) -> Tensor:
        x0 = denoise(x, point)  # (batch, ...)
        limit = x0.flatten(1).abs().quantile(kept, dim=1).clamp(min=1.0)
        limit = limit.reshape(-1, *[1] * (x0.ndim - 1))
        return x0.clamp(-limit, limit) / limit

    return within
