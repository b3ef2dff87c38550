"""Linear multistep."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise, starts_with
from ldm_core.steps import move
from ldm_plugins.schedulers.start import karras_start

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
    seen: deque[tuple[float, Tensor]] = deque(maxlen=order)  # newest first
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        moved = move(x, x0, here, there)
        if here.alpha > 0:
            noise_here = (x - here.alpha * x0) / here.sigma
            seen.appendleft((here.ratio, noise_here))
            weights = _weights([ratio for ratio, _ in seen], here.ratio, there.ratio)
            for weight, (_, estimate) in list(zip(weights, seen, strict=True))[1:]:
                moved = moved + (there.alpha * weight) * (estimate - noise_here)
        x = moved
    return x


def _weights(nodes: Sequence[float], start: float, stop: float) -> list[float]:
    """Integrals from start to stop of the Lagrange polynomials of these nodes."""
    from numpy.polynomial import Polynomial

    weights = []
    for j, node in enumerate(nodes):
        basis = Polynomial([1.0])
        for k, other in enumerate(nodes):
            if k != j:
                basis *= Polynomial([-other, 1.0]) / (node - other)
        whole = basis.integ()
        weights.append(float(whole(stop) - whole(start)))
    return weights
