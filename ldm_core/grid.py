"""Grids: the points that a run visits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from ldm_core.errors import LdmError
from ldm_core.point import Point


def checked(grid: Sequence[Point], spacing: str) -> tuple[Point, ...]:
    """The grid as a tuple, once every point is finite and has less noise than the one before.

    Raises:
        LdmError: the spacing gave something else; a run on it would be garbage.
    """
    points = tuple(grid)
    if len(points) < 2:
        raise LdmError(f"the spacing {spacing} gave {len(points)} points; a run needs at least 2.")
    for here, there in pairwise(points):
        if not there.ratio < here.ratio:
            raise LdmError(
                f"the spacing {spacing} gave noise that does not fall: {there} after {here}."
            )
    for point in points:
        if not all(map(math.isfinite, (point.alpha, point.sigma, point.t))):
            raise LdmError(f"the spacing {spacing} gave a point that is not finite: {point}.")
    return points


def intervals_behind(grid: Sequence[Point], point: Point) -> int:
    """How many intervals of the grid a point has left behind; 0 at its start."""
    passed = sum(1 for other in grid if other.ratio >= point.ratio)
    return min(max(passed - 1, 0), len(grid) - 1)
