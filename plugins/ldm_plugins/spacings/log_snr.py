"""Log-SNR."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, Positive
from ldm_plugins.spacings.shared.ratios import evenly, points_at, ratio_range


def log_snr(
    schedule: NoiseSchedule,
    steps: int,
    *,
    power: Positive = 1.0,
    sigma_min: Positive | None = None,
    sigma_max: Positive | None = None,
    whole_timesteps: bool = False,
    final: Final = "zero",
) -> Sequence[Point]:
    """Even steps of log-SNR, or of a power of it (DPM-Solver, arXiv:2206.00927, Section 3.3).

    With power 1 it is `exponential`, and `use_lu_lambdas` of Diffusers. Where sigma/alpha is
    infinite at the noisy end (flow, zero terminal SNR) it starts at 80.

    Args:
        power: above 1 the steps crowd at the clean end, below at the noisy one: the log-SNR that
            is still to go falls as this power of the steps to go; 2 is quadratic.
        sigma_min: least sigma/alpha before the clean end; the training's where not given.
        sigma_max: greatest sigma/alpha; the training's where not given.
        whole_timesteps: round what the network is told, while the noise stays exact, as Diffusers'
            DPM-Solver classes do.
        final: "zero" ends without noise; "sigma_min" at sigma_min, one step earlier.
    """
    high, low = ratio_range(schedule, sigma_min, sigma_max)
    to_go = [u**power for u in evenly(1.0, 0.0, steps, final)]
    ratios = [low * math.exp(part * math.log(high / low)) for part in to_go]
    return points_at(schedule, ratios, final, whole_timesteps)
