"""What the spacings by timestep share: the trained timesteps, the end point, and their limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule, VPSchedule
from ldm_core.numerics.point import CLEAN, Point

Final = Literal["zero", "sigma_min"]
LeastAlpha = Annotated[float, Field(ge=0, lt=0.01)]
Positive = Annotated[float, Field(gt=0)]


def places_among(schedule: NoiseSchedule, steps: int, open_end: bool = False) -> tuple[int, int]:
    """How many timesteps are to be placed, and among how many trained ones.

    Args:
        open_end: place one more, whose place the caller leaves out.
    Raises:
        LdmError: more places than timesteps.
    """
    count = int(schedule.last - schedule.first) + 1
    places = steps + open_end
    if places > count:
        beside = ", and open_end places one more" if open_end else ""
        raise LdmError(
            f"num_inference_steps is {steps}{beside}, but the model was trained on {count} "
            "timesteps."
        )
    return places, count


def grid_at(
    schedule: NoiseSchedule, times: Sequence[float], final: Final, least_alpha: float = 0.0
) -> Sequence[Point]:
    """The points at these training timesteps, and the end point after them.

    Args:
        least_alpha: in place of an alpha of zero, on a variance-preserving path.
        final: ``zero`` ends without noise, ``sigma_min`` at the least noise of the training. A
            last step from there to there would change nothing, so it is left out.
    Raises:
        LdmError: a timestep outside the trained ones, or a least alpha on another path.
    """
    if least_alpha and not isinstance(schedule, VPSchedule):
        raise LdmError("least_alpha is for variance-preserving paths, and this model's is another.")
    for t in times:
        if not schedule.first <= t <= schedule.last:
            raise LdmError(
                f"the spacing asks for the timestep {t:g}, outside the trained {schedule.first:g} "
                f"to {schedule.last:g}."
            )
    points = [schedule.at(t) for t in times]
    if points[0].alpha < least_alpha:
        sigma = math.sqrt(1 - least_alpha**2)
        points[0] = replace(points[0], alpha=least_alpha, sigma=sigma)
    if final == "zero":
        return [*points, CLEAN]
    least = schedule.at(schedule.first)
    return points if points[-1] == least and len(points) > 1 else [*points, least]
