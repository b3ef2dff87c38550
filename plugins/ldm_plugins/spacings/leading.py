"""Leading."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, LeastAlpha, grid_at, places_among


def leading(
    schedule: NoiseSchedule,
    steps: int,
    *,
    steps_offset: int = 0,
    open_end: bool = False,
    final: Final = "zero",
    least_alpha: LeastAlpha = 0.0,
) -> Sequence[Point]:
    """Every k-th training timestep from the clean end, as in DDIM (arXiv:2010.02502, App. D.2).

    The noisiest timesteps are left out (Lin et al. 2023, arXiv:2305.08891, Table 2).

    Args:
        steps_offset: added to each timestep; Stable Diffusion uses 1.
        open_end: place one timestep more and leave out the cleanest, as Diffusers' DPM-Solver,
            UniPC, DEIS and SA-Solver classes do.
        final: "zero" ends without noise, "sigma_min" at the least noise of the training.
        least_alpha: at zero terminal SNR, alpha of the noisiest point; Diffusers' Euler, DPM-Solver
            and UniPC classes put 2^-12 there in place of 0.
    """
    places, count = places_among(schedule, steps, open_end)
    stride = count // places
    cleanest = schedule.first + steps_offset + stride * open_end
    return grid_at(
        schedule, [cleanest + i * stride for i in reversed(range(steps))], final, least_alpha
    )
