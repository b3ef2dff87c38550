"""Cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point


def cosine(schedule: NoiseSchedule, steps: int) -> Sequence[Point]:
    """Even steps of the angle atan(sigma/alpha), the time of the cosine schedule (Nichol & Dhariwal
    2021, arXiv:2102.09672, Eq. 17; Salimans & Ho 2022, arXiv:2202.00512).

    From the noisiest point of the training, alpha = 0 included, down to no noise. Where so many
    steps would pass below the least noise of the training, the last before the end is at it.
    """
    noisiest, least = schedule.at(schedule.last), schedule.at(schedule.first)
    start, end = _angle(noisiest), _angle(least)
    lowest = max(start / steps, end)
    angles = [start + (lowest - start) * i / (steps - 1) for i in range(1, steps)]
    points = [noisiest, *(schedule.at_ratio(math.tan(angle)) for angle in angles)]
    if steps > 1 and lowest == end:
        points[-1] = least
    return [*points, CLEAN]


def _angle(point: Point) -> float:
    return math.atan2(point.sigma, point.alpha)
