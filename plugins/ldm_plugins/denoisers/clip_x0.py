"""Clipping of the x0 estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from ldm_core.contracts import Denoise, neutral_at
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


@neutral_at(limit=3e38)
def clip_x0(denoise: Denoise, *, limit: PositiveFloat = 1.0) -> Denoise:
    """Keep every x0 estimate within [-limit, limit] (Ho et al. 2020, arXiv:2006.11239, 3.2).

    For models whose data is known to lie there, such as pixels; latents usually do not.

    Args:
        limit: the greatest absolute value.
    """

    def clip(x: Tensor, point: Point) -> Tensor:
        return denoise(x, point).clamp(-limit, limit)

    return clip
