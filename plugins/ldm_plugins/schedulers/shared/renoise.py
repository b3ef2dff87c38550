"""Back towards the noise: what restarts and consistency sampling share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ldm_core.contracts import Noise
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


def renoise(x: Tensor, here: Point, there: Point, noise: Noise) -> Tensor:
    """Draw from q(x_there | x_here), for a point with more noise than here's, or the same.

    Source: Ho et al. 2020, arXiv:2006.11239, Eq. 2 and 4, on any path.
    """
    kept = there.alpha / here.alpha
    fresh = there.sigma**2 - (kept * here.sigma) ** 2
    return kept * x + math.sqrt(fresh) * noise() if fresh > 0 else kept * x
