"""Two arcs of a tangent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Positive
from ldm_plugins.spacings.shared.flow_time import FlowTime

Share = Annotated[float, Field(gt=0, lt=1)]


def bong_tangent(
    schedule: NoiseSchedule,
    steps: int,
    *,
    middle: Share = 0.5,
    pivot_1: Share = 0.6,
    pivot_2: Share = 0.6,
    slope_1: Positive = 0.2,
    slope_2: Positive = 0.2,
) -> Sequence[Point]:
    """Flow times sigma/(alpha + sigma) along two arcs of the arcus tangens, from 1 to the middle
    and from there to 0, which are steep between and flat at both ends (RES4LYF's scheduler of that
    name; there is no paper).

    The steps are counted as RES4LYF counts them, in whole ones, with one less at each end. Where
    the last would lie below the least noise of the training, which takes hundreds of steps, all are
    stretched to end there. One step leads straight from 1 to the end.

    Args:
        middle: the flow time where the arcs meet.
        pivot_1, pivot_2: where the arcs are steepest, as shares of the steps.
        slope_1, slope_2: how steep they are there, at forty steps.
    """
    path = FlowTime(schedule)
    if steps == 1:
        return path.grid([1.0])
    count = steps + 2
    meets = min(max(int((count * pivot_1 + count * pivot_2) / 2), 2), steps)
    first = _arc(meets, slope_1 * 40 / count, int(count * pivot_1), 1.0, middle)
    second = _arc(count - meets, slope_2 * 40 / count, int(count * pivot_2) - meets, middle, 0.0)
    return path.grid([*first[:-1], *second[:-1]])


def _arc(places: int, slope: float, pivot: int, start: float, end: float) -> list[float]:
    """An arcus tangens over 0, 1, ... places - 1, scaled to go from one height to another."""
    heights = [math.atan(slope * (pivot - i)) for i in range(places)]
    length = heights[0] - heights[-1]
    if not length:
        raise LdmError(
            "a slope of bong_tangent is so small, or a pivot so far out, that an arc is flat all "
            "along.",
            "slopes about 0.2 and pivots about 0.6 are usual.",
        )
    return [end + (height - heights[-1]) / length * (start - end) for height in heights]
