"""Trailing."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.noise_schedule import NoiseSchedule
from ldm_core.point import Point
from ldm_plugins.spacings.ends import Final, grid_at, trained_steps


def trailing(schedule: NoiseSchedule, steps: int, *, final: Final = "zero") -> Sequence[Point]:
    """Evenly spaced training timesteps counted from the noisy end (arXiv:2305.08891, Table 2).

    Args:
        final: "zero" ends without noise, "sigma_min" at the least noise of the training.
    """
    count = trained_steps(schedule, steps)
    counted = [count * (steps - i) / steps for i in range(steps)]
    if schedule.discrete:
        counted = [float(round(n)) for n in counted]
    return grid_at(schedule, [schedule.first + n - 1 for n in counted], final)
