"""Grids: the points that a run visits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Self, SupportsIndex, overload

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point


class Grid(tuple[Point, ...]):
    """Points of a noise schedule, noisiest first, the end point last; slices are grids too.

    Attributes:
        schedule: where the points lie; a scheduler may ask it for points between them. Grids on
            different schedules are not equal.
        before, after: how many steps of the whole run lie before this part of it, and after; a
            slice counts them. What depends on a run's length, or on where its end is, asks them.
    """

    schedule: NoiseSchedule
    before: int
    after: int

    def __new__(
        cls, points: Iterable[Point], schedule: NoiseSchedule, before: int = 0, after: int = 0
    ) -> Self:
        grid = super().__new__(cls, points)
        grid.schedule, grid.before, grid.after = schedule, before, after
        return grid

    def __getnewargs__(self) -> tuple[Any, ...]:  # for copy and pickle
        return tuple(self), self.schedule, self.before, self.after

    @property
    def whole_steps(self) -> int:
        """How many steps the run has of which this is a part, or all."""
        return self.before + len(self) - 1 + self.after

    def __eq__(self, other: object) -> bool:
        same = super().__eq__(other)
        return bool(same) and (not isinstance(other, Grid) or self.schedule == other.schedule)

    def __ne__(self, other: object) -> bool:  # a tuple has one of its own
        return not self == other

    def __hash__(self) -> int:
        return super().__hash__()

    @overload
    def __getitem__(self, index: SupportsIndex) -> Point: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: SupportsIndex | slice) -> Point | Self:
        if isinstance(index, slice):
            points, places = super().__getitem__(index), range(len(self))[index]
            if places.step != 1 or not places:
                return type(self)(points, self.schedule)
            before, after = self.before + places[0], self.after + len(self) - 1 - places[-1]
            return type(self)(points, self.schedule, before, after)
        return super().__getitem__(index)

    def onward(self, point: Point) -> Self:
        """The way from a point to the end: from the grid's own point where it has the same one,
        or else the point itself and all that is less noisy."""
        for index, own in enumerate(self):
            if math.isclose(own.ratio, point.ratio, rel_tol=1e-6):
                return self[index:]
        # a multistep method divides by the length of a step, so a minute one would harm
        left = [own for own in self if own.ratio < 0.999 * point.ratio]
        before = self.before + max(len(self) - 1 - len(left), 0)
        return type(self)([point, *left], self.schedule, before, self.after)

    def between(self, here: Point, there: Point) -> Point:
        """The point half-way in log-SNR; both need a finite one."""
        return self.schedule.at_ratio(math.sqrt(here.ratio * there.ratio))


def intervals_behind(grid: Sequence[Point], point: Point) -> int:
    """How many intervals of the grid a point has left behind; 0 at its start."""
    passed = sum(1 for other in grid if other.ratio >= point.ratio)
    return min(max(passed - 1, 0), len(grid) - 1)
