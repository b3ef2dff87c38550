"""Linear multistep."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise, starts_with
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.noise_estimates import lagrange, move_by, noise_in
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor


@starts_with(karras_start)
def lms(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, order: Literal[1, 2, 3, 4] = 4
) -> Tensor:
    """Linear multistep, Adams-Bashforth on uneven steps (Liu et al. 2022, arXiv:2202.09778, 3.2).

    The latest noise estimates are interpolated by a polynomial in sigma/alpha, which is integrated
    exactly (Hairer et al. 1993, Solving Ordinary Differential Equations I, Section III.5).

    Args:
        order: how many estimates it goes through, 1 to 4; fewer in the first steps.
    """
    seen: deque[tuple[Point, Tensor]] = deque(maxlen=order)  # newest first
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        known = [(here, noise_in(x, x0, here)), *seen][:order]
        weights = _weights([point.ratio for point, _ in known], there.ratio)
        x = move_by(x, x0, here, there, weights, [estimate for _, estimate in known])
        if here.alpha > 0:
            seen.appendleft(known[0])
    return x


def _weights(nodes: Sequence[float], stop: float) -> list[float]:
    """Mean of each Lagrange polynomial from the first node to the stop."""
    if len(nodes) == 1:
        return [1.0]
    step = stop - nodes[0]
    # In units of the step, from 0 to 1: no large powers of sigma/alpha cancel.
    basis = lagrange([(node - nodes[0]) / step for node in nodes])
    return [float(polynomial.integ()(1.0)) for polynomial in basis]
