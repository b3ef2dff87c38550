"""A spacing: it chooses the points that a run visits."""

from __future__ import annotations

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point
from pydantic import PositiveFloat


def power(schedule: NoiseSchedule, steps: int, *, exponent: PositiveFloat = 2.0) -> list[Point]:
    """Timesteps that crowd at the clean end, as a power of how much of the way is left.

    Args:
        exponent: 1 is even, more crowds more.
    """
    length = schedule.last - schedule.first
    shares = [(1 - i / steps) ** exponent for i in range(steps)]
    return [*(schedule.at(schedule.first + share * length) for share in shares), CLEAN]
