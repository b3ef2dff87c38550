"""Simple."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, grid_at, places_among


def simple(schedule: NoiseSchedule, steps: int, *, final: Final = "zero") -> Sequence[Point]:
    """Whole timesteps counted from the noisy end and rounded towards it, as ComfyUI's scheduler of
    that name; `trailing` rounds to the nearest (arXiv:2305.08891, Table 2).

    Args:
        final: "zero" ends without noise, "sigma_min" at the least noise of the training.
    """
    _, count = places_among(schedule, steps)
    return grid_at(schedule, [schedule.last - i * count // steps for i in range(steps)], final)
