"""Quadratic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, grid_at, places_among

Share = Annotated[float, Field(gt=0, le=1)]


def quadratic(
    schedule: NoiseSchedule, steps: int, *, reach: Share = 1.0, final: Final = "zero"
) -> Sequence[Point]:
    """Timesteps floor(c·i²), crowding at the clean end (DDIM, arXiv:2010.02502, App. D.2).

    Where two would fall on one timestep, at the clean end of a long run, each takes the next.

    Args:
        reach: share of the trained timesteps that the noisiest lies at; the paper's code used 0.8.
        final: "zero" ends without noise, "sigma_min" at the least noise of the training.
    """
    places, count = places_among(schedule, steps)
    noisiest = min(int(reach * count), count - 1)
    if places > noisiest + 1:
        raise LdmError(
            f"num_inference_steps is {steps}, but a reach of {reach:g} leaves {noisiest + 1} "
            "timesteps."
        )
    parts = max(steps - 1, 1)
    counted = [max(noisiest * i * i // parts**2, i) for i in range(steps)]
    if steps == 1:
        counted = [noisiest]
    return grid_at(schedule, [schedule.first + n for n in reversed(counted)], final)
