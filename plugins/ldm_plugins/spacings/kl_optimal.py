"""KL-optimal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, Positive
from ldm_plugins.spacings.shared.ratios import evenly, points_at, ratio_range


def kl_optimal(
    schedule: NoiseSchedule,
    steps: int,
    *,
    sigma_min: Positive | None = None,
    sigma_max: Positive | None = None,
    whole_timesteps: bool = False,
    final: Final = "zero",
) -> Sequence[Point]:
    """Even steps of atan(sigma/alpha), which are the optimum of a bound on the divergence for
    Gaussian data of unit variance (Sabour et al. 2024, arXiv:2404.14507, Section 3).

    `cosine` differs by its end, which it reaches in one step more of the same length. Where
    sigma/alpha is infinite at the noisy end (flow, zero terminal SNR) the first point lies there.

    Args:
        sigma_min: least sigma/alpha before the clean end; the training's where not given.
        sigma_max: greatest sigma/alpha; the training's where not given.
        whole_timesteps: round what the network is told, while the noise stays exact.
        final: "zero" ends without noise; "sigma_min" at sigma_min, one step earlier.
    """
    noisiest = schedule.at(schedule.last)
    endless = sigma_max is None and noisiest.alpha == 0
    high, low = ratio_range(schedule, sigma_min, sigma_max)
    top = math.pi / 2 if endless else math.atan(high)
    angles = evenly(top, math.atan(low), steps, final)
    ratios = [math.tan(angle) for angle in angles[1:]]
    first = math.inf if endless else high
    return points_at(schedule, [first, *ratios], final, whole_timesteps)
