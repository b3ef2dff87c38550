"""A spacing: points that crowd where signal and noise are alike."""

from __future__ import annotations

import math

from pydantic import PositiveFloat

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point


def laplace(
    schedule: NoiseSchedule, steps: int, *, mean: float = 0.0, width: PositiveFloat = 1.5
) -> list[Point]:
    """Points at even quantiles of a Laplace distribution of lambda = ln(alpha/sigma), as a network
    is trained at them in Hang et al. 2024 (arXiv:2407.03297, Section 3.2).

    Args:
        mean: the lambda about which they crowd.
        width: of the distribution; the larger, the more even they are.
    """

    def below(point: Point) -> float:
        """The share of the distribution with more noise than a point."""
        away = (point.half_log_snr - mean) / width
        return math.exp(away) / 2 if away < 0 else 1 - math.exp(-away) / 2

    noisy, quiet = schedule.at(schedule.last), schedule.at(schedule.first)
    shares = [below(noisy) + (below(quiet) - below(noisy)) * i / steps for i in range(1, steps)]
    ratios = [math.exp(-mean - width * _quantile(share)) for share in shares]
    return [noisy, *map(schedule.at_ratio, ratios), CLEAN]


def _quantile(share: float) -> float:
    """Where a share of the Laplace distribution of width 1 about 0 lies below."""
    return math.log(2 * share) if share < 0.5 else -math.log(2 * (1 - share))
