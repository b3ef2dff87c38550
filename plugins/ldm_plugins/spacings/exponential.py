"""Exponential."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.noise_schedule import NoiseSchedule
from ldm_core.point import Point
from ldm_plugins.spacings.ratios import points_at, ratio_range


def exponential(
    schedule: NoiseSchedule,
    steps: int,
    *,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Sequence[Point]:
    """Even steps of log-SNR (Lu et al. 2022, arXiv:2206.00927, Section 3.3).

    Where sigma/alpha is infinite at the noisy end (flow, zero terminal SNR) it starts at 80.

    Args:
        sigma_min: least sigma/alpha before the clean end; the training's where not given.
        sigma_max: greatest sigma/alpha; the training's where not given.
    """
    high, low = ratio_range(schedule, sigma_min, sigma_max)
    parts = max(steps - 1, 1)
    return points_at(schedule, [high * (low / high) ** (i / parts) for i in range(steps)])
