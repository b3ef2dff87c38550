"""The moves that schedulers are made of; all finite where alpha is 0.

Coefficients are Python floats, computed from the points alone. What a caller has is left as it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ldm_core.numerics.callables import Noise
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum

if TYPE_CHECKING:
    from torch import Tensor


def move(x: Tensor, x0: Tensor, here: Point, there: Point) -> Tensor:
    """Carry x from one point to another, holding the x0 estimate fixed.

    This one step is DDIM with eta = 0 (Song et al. 2021, arXiv:2010.02502, Eq. 12), Euler's
    method on the probability-flow ODE (Karras et al. 2022, arXiv:2206.00364) and DPM-Solver++ of
    order one (Lu et al. 2022, arXiv:2211.01095, Eq. 9).

    Args:
        x, x0: (batch, ...), same shape.
    """
    kept = there.sigma / here.sigma
    return weighted_sum((kept, x), (there.alpha - kept * here.alpha, x0))


def ancestral_move(
    x: Tensor, x0: Tensor, here: Point, there: Point, noise: Noise, eta: float = 1.0
) -> Tensor:
    """Like `move`, with a part of the noise drawn anew.

    With eta = 1 the draw is from the posterior q(x_there | x, x0) (Ho et al. 2020,
    arXiv:2006.11239, Eq. 6-7), in between it is DDIM's family (arXiv:2010.02502, Eq. 16).
    """
    # sigma/alpha of the quieter point over that of the noisier one
    fall = (there.sigma * here.alpha) / (there.alpha * here.sigma)
    fresh = eta * there.sigma * math.sqrt(max(1.0 - fall * fall, 0.0))
    kept = math.sqrt(max(there.sigma**2 - fresh**2, 0.0)) / here.sigma
    terms = [(kept, x), (there.alpha - kept * here.alpha, x0)]
    if fresh > 0:
        terms.append((fresh, noise()))
    return weighted_sum(*terms)
