"""Linear multistep."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise, starts_with
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.lagrange import lagrange, value
from ldm_plugins.schedulers.shared.noise_estimates import multistep
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
    return multistep(x, grid, denoise, [order] * (len(grid) - 1), _weights)


@lru_cache(maxsize=4096)
def _weights(points: tuple[Point, ...], there: Point) -> tuple[float, ...]:
    """Mean over sigma/alpha, from the first point to the end of the step, of each Lagrange
    polynomial."""
    if len(points) == 1:
        return (1.0,)
    start = points[0].ratio
    step = there.ratio - start
    # In units of the step, from 0 to 1: no large powers of sigma/alpha cancel.
    basis = lagrange([(point.ratio - start) / step for point in points])
    integrals = ([0.0, *(c / (k + 1) for k, c in enumerate(polynomial))] for polynomial in basis)
    return tuple(value(integral, 1.0) for integral in integrals)
