"""A wrapper of the denoiser: no estimate is wilder than data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from ldm_core.contracts import Denoise
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


def held(denoise: Denoise, *, spread: PositiveFloat | None = 1.0) -> Denoise:
    """Hold the standard deviation of each image's x0 estimate below a bound.

    Args:
        spread: the bound; without one nothing is changed.
    """
    if spread is None:
        return denoise

    def within(x: Tensor, point: Point) -> Tensor:
        x0 = denoise(x, point)  # (batch, ...)
        factor = (spread / x0.flatten(1).std(1).clamp(min=1e-12)).clamp(max=1.0)
        return x0 * factor.reshape(-1, *[1] * (x0.ndim - 1))

    return within
