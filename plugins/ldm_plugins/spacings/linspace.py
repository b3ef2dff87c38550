"""Linspace."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.noise_schedule import NoiseSchedule
from ldm_core.point import Point
from ldm_plugins.spacings.ends import Final, grid_at, trained_steps


def linspace(schedule: NoiseSchedule, steps: int, *, final: Final = "zero") -> Sequence[Point]:
    """Evenly spaced timesteps, both trained ends among them (arXiv:2305.08891, Table 2).

    Timesteps are not rounded; between whole ones the schedule interpolates.

    Args:
        final: "zero" ends without noise, "sigma_min" at the least noise of the training.
    """
    trained_steps(schedule, steps)
    first, last = schedule.first, schedule.last
    parts = max(steps - 1, 1)
    return grid_at(schedule, [last - i * (last - first) / parts for i in range(steps)], final)
