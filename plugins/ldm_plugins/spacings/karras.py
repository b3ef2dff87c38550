"""Karras."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ldm_core.errors import LdmError
from ldm_core.noise_schedule import NoiseSchedule
from ldm_core.point import CLEAN, Point


def karras(
    schedule: NoiseSchedule,
    steps: int,
    *,
    rho: float = 7.0,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Sequence[Point]:
    """Noise ratios even in their rho-th root (Karras et al. 2022, arXiv:2206.00364, Eq. 5).

    It works on sigma/alpha, so on every schedule. Where that is infinite at the noisy end (flow,
    zero terminal SNR) it starts at the paper's sigma_max of 80.

    Args:
        rho: how much the steps crowd at the clean end.
        sigma_min: least sigma/alpha before the clean end; the training's where not given.
        sigma_max: greatest sigma/alpha; the training's where not given.
    """
    low = schedule.at(schedule.first).ratio if sigma_min is None else sigma_min
    high = schedule.at(schedule.last).ratio if sigma_max is None else sigma_max
    if math.isinf(high):
        high = 80.0
    if not 0 < low < high:
        raise LdmError(f"karras needs 0 < sigma_min < sigma_max, not {low:g} and {high:g}.")
    if rho <= 0:
        raise LdmError(f"karras needs a positive rho, not {rho:g}.")
    parts = max(steps - 1, 1)
    start, end = high ** (1 / rho), low ** (1 / rho)
    ratios = [high] + [(start + i / parts * (end - start)) ** rho for i in range(1, steps)]
    exact_start = sigma_max is None and schedule.at(schedule.last).ratio == high
    points = [schedule.at_ratio(ratio) for ratio in ratios]
    if exact_start:
        points[0] = schedule.at(schedule.last)
    return [*points, CLEAN]
