"""Explicit lists."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point


def explicit(
    schedule: NoiseSchedule,
    steps: int,
    *,
    timesteps: list[float] | None = None,
    sigmas: list[float] | None = None,
) -> Sequence[Point]:
    """The points of a list, and the clean end after them.

    Args:
        timesteps: training timesteps, noisiest first.
        sigmas: noise ratios sigma/alpha instead, greatest first; that of a flow time s, from 1 to
            0, is s/(1 - s), and its timestep 1000 times it.
    """
    if (timesteps is None) == (sigmas is None):
        raise LdmError("explicit needs either timesteps or sigmas.")
    listed = timesteps if sigmas is None else sigmas
    if not listed or len(listed) != steps:
        raise LdmError(
            f"explicit lists {len(listed or [])} points for num_inference_steps of {steps}."
        )
    if sigmas is None:
        for t in listed:
            if not schedule.first <= t <= schedule.last:
                raise LdmError(
                    f"the timestep {t:g} lies outside the trained {schedule.first:g} to "
                    f"{schedule.last:g}."
                )
        return [*map(schedule.at, listed), CLEAN]
    if min(listed) <= 0:
        raise LdmError("every sigma of explicit must be positive; the clean end is added.")
    return [*map(schedule.at_ratio, listed), CLEAN]
