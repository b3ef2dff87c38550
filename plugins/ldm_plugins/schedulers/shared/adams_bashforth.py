"""Adams and Bashforth's weights on uneven steps."""

from __future__ import annotations

from functools import lru_cache

from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.lagrange import lagrange, value


@lru_cache(maxsize=4096)
def adams_bashforth(points: tuple[Point, ...], there: Point) -> tuple[float, ...]:
    """Mean over sigma/alpha, from the first point to the end of the step, of each Lagrange
    polynomial.

    Args:
        points: where the estimates lie, newest first.
    Source: Hairer et al. 1993, Solving Ordinary Differential Equations I, Section III.5.
    """
    if len(points) == 1:
        return (1.0,)
    start = points[0].ratio
    step = there.ratio - start
    # In units of the step, from 0 to 1: no large powers of sigma/alpha cancel.
    basis = lagrange([(point.ratio - start) / step for point in points])
    integrals = ([0.0, *(c / (k + 1) for k, c in enumerate(polynomial))] for polynomial in basis)
    return tuple(value(integral, 1.0) for integral in integrals)
