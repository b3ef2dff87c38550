"""Grids: the points that a run visits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Self, SupportsIndex, overload

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point


class Grid(tuple[Point, ...]):
    """Points of a noise schedule, noisiest first, the end point last; slices are grids too.

    Attributes:
        schedule: where the points lie; a scheduler may ask it for points between them.
    """

    schedule: NoiseSchedule

    def __new__(cls, points: Iterable[Point], schedule: NoiseSchedule) -> Self:
        grid = super().__new__(cls, points)
        grid.schedule = schedule
        return grid

    @overload
    def __getitem__(self, index: SupportsIndex) -> Point: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: SupportsIndex | slice) -> Point | Self:
        if isinstance(index, slice):
            return type(self)(super().__getitem__(index), self.schedule)
        return super().__getitem__(index)

    def onward(self, point: Point) -> Self:
        """The way from a point to the end: from the grid's own point where it has the same one,
        or else the point itself and all that is less noisy."""
        for index, own in enumerate(self):
            if math.isclose(own.ratio, point.ratio, rel_tol=1e-6):
                return self[index:]
        # a multistep method divides by the length of a step, so a minute one would harm
        left = (own for own in self if own.ratio < 0.999 * point.ratio)
        return type(self)([point, *left], self.schedule)

    def between(self, here: Point, there: Point) -> Point:
        """The point half-way in log-SNR; both need a finite one."""
        return self.schedule.at_ratio(math.sqrt(here.ratio * there.ratio))


def checked(points: Sequence[Point], schedule: NoiseSchedule, spacing: str) -> Grid:
    """A grid of the points, once each is finite and has less noise than the one before.

    Raises:
        LdmError: the spacing gave something else; a run on it would be garbage.
    """
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
    return Grid(points, schedule)


def intervals_behind(grid: Sequence[Point], point: Point) -> int:
    """How many intervals of the grid a point has left behind; 0 at its start."""
    passed = sum(1 for other in grid if other.ratio >= point.ratio)
    return min(max(passed - 1, 0), len(grid) - 1)
