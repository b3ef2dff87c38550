"""SGM uniform."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, grid_at
from ldm_plugins.spacings.shared.ratios import evenly


def sgm_uniform(schedule: NoiseSchedule, steps: int, *, final: Final = "zero") -> Sequence[Point]:
    """Timesteps evenly from the noisiest to the cleanest, which is left to the end point, as
    ComfyUI's scheduler of that name and the SDXL authors' Euler: `linspace` with an open end.

    Args:
        final: "zero" ends without noise, "sigma_min" at the least noise of the training.
    """
    return grid_at(schedule, evenly(schedule.last, schedule.first, steps + 1, "zero")[:-1], final)
