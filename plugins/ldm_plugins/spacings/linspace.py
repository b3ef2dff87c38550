"""Linspace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, LeastAlpha, grid_at, places_among


def linspace(
    schedule: NoiseSchedule,
    steps: int,
    *,
    whole_timesteps: bool = False,
    open_end: bool = False,
    final: Final = "zero",
    least_alpha: LeastAlpha = 0.0,
) -> Sequence[Point]:
    """Evenly spaced timesteps, both trained ends among them (arXiv:2305.08891, Table 2).

    Args:
        whole_timesteps: round each timestep to a whole one, as Diffusers' DDPM, DDIM and PNDM
            classes do; between whole ones the schedule interpolates.
        open_end: place one timestep more and leave out the cleanest, as Diffusers' DPM-Solver,
            UniPC, DEIS and SA-Solver classes do (which also round).
        final: "zero" ends without noise, "sigma_min" at the least noise of the training.
        least_alpha: at zero terminal SNR, alpha of the noisiest point; Diffusers' Euler, DPM-Solver
            and UniPC classes put 2^-12 there in place of 0.
    """
    places, _ = places_among(schedule, steps, open_end)
    even = (
        np.linspace(schedule.first, schedule.last, places)[::-1] if places > 1 else [schedule.last]
    )
    times = [float(round(t) if whole_timesteps else t) for t in even[:steps]]
    return grid_at(schedule, times, final, least_alpha)
