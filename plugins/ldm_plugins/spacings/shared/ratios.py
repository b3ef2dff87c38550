"""What spacings by noise ratio share: their range, and the points of their ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_plugins.spacings.shared.ends import Final

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


def points_at(
    schedule: NoiseSchedule,
    ratios: Sequence[float],
    final: Final = "zero",
    whole_timesteps: bool = False,
) -> list[Point]:
    """The points with these ratios, and the end; the schedule's own two ends are met exactly.

    Args:
        ratios: sigma/alpha, greatest first; the last is the least.
        final: ``zero`` ends without noise, ``sigma_min`` at the last of the ratios.
        whole_timesteps: round what the network is told; alpha and sigma stay exact.
    """
    points = [schedule.at_ratio(ratio) for ratio in ratios]
    for index, t in ((0, schedule.last), (-1, schedule.first)):
        if math.isclose(ratios[index], schedule.at(t).ratio, rel_tol=1e-12):
            points[index] = schedule.at(t)
    if whole_timesteps:
        points = [replace(point, t=float(round(point.t))) for point in points]
    return points if final == "sigma_min" else [*points, CLEAN]


def evenly(high: float, low: float, steps: int, final: Final) -> list[float]:
    """Numbers from high down to low, both among them; from high alone in one step to zero."""
    places = max(steps, 2) if final == "sigma_min" else steps
    parts = max(places - 1, 1)
    return [high + (low - high) * i / parts for i in range(places)]
