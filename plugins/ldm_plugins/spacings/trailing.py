"""Trailing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, LeastAlpha, grid_at, places_among


def trailing(
    schedule: NoiseSchedule, steps: int, *, final: Final = "zero", least_alpha: LeastAlpha = 0.0
) -> Sequence[Point]:
    """Evenly spaced training timesteps counted from the noisy end (arXiv:2305.08891, Table 2).

    Args:
        final: "zero" ends without noise, "sigma_min" at the least noise of the training.
        least_alpha: at zero terminal SNR, alpha of the noisiest point; Diffusers' Euler, DPM-Solver
            and UniPC classes put 2^-12 there in place of 0.
    """
    _, count = places_among(schedule, steps)
    counted = np.arange(count, 0, -count / steps)[:steps]
    times = [schedule.first + (round(n) if schedule.discrete else float(n)) - 1 for n in counted]
    return grid_at(schedule, times, final, least_alpha)
