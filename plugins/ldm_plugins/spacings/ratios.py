"""What spacings by noise ratio share: their range, and the points of their ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ldm_core.errors import LdmError
from ldm_core.noise_schedule import NoiseSchedule
from ldm_core.point import CLEAN, Point

GREATEST = 80.0
"""Where to start if the trained ratio has no end: sigma_max of Karras et al. 2022, Table 1."""


def ratio_range(
    schedule: NoiseSchedule, sigma_min: float | None, sigma_max: float | None
) -> tuple[float, float]:
    """Greatest and least sigma/alpha: the given ones, or the training's.

    Raises:
        LdmError: they are not positive, or in the wrong order.
    """
    high = schedule.at(schedule.last).ratio if sigma_max is None else sigma_max
    low = schedule.at(schedule.first).ratio if sigma_min is None else sigma_min
    if math.isinf(high):
        high = GREATEST
    if not 0 < low < high:
        raise LdmError(f"need 0 < sigma_min < sigma_max, not {low:g} and {high:g}.")
    return high, low


def points_at(schedule: NoiseSchedule, ratios: Sequence[float]) -> list[Point]:
    """The points with these ratios, and the clean end; the schedule's own end is met exactly."""
    last = schedule.at(schedule.last)
    points = [schedule.at_ratio(ratio) for ratio in ratios]
    if math.isclose(ratios[0], last.ratio, rel_tol=1e-12):
        points[0] = last
    return [*points, CLEAN]
