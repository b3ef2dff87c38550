"""DDIM uniform."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, grid_at, places_among


def ddim_uniform(schedule: NoiseSchedule, steps: int, *, final: Final = "zero") -> Sequence[Point]:
    """Every k-th training timestep, counted from the second one (DDIM, arXiv:2010.02502, App. D.2,
    in CompVis' code), as ComfyUI's scheduler of that name: `leading` with a steps_offset of 1.

    Where the number of steps does not divide that of the timesteps, ComfyUI goes on to the noisy
    end and takes more steps than were asked for; here the noisiest of these are left out. As many
    steps as timesteps are counted from the first.

    Args:
        final: "zero" ends without noise, "sigma_min" at the least noise of the training.
    """
    _, count = places_among(schedule, steps)
    stride = count // steps
    second = schedule.first + (stride * (steps - 1) + 1 < count)
    return grid_at(schedule, [second + i * stride for i in reversed(range(steps))], final)
