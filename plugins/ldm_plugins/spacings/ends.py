"""What the first three spacings share: whole timesteps, the end point, and their limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ldm_core.errors import LdmError
from ldm_core.noise_schedule import NoiseSchedule
from ldm_core.point import CLEAN, Point

Final = Literal["zero", "sigma_min"]


def trained_steps(schedule: NoiseSchedule, steps: int) -> int:
    """The number of trained timesteps, once it is known to be enough.

    Raises:
        LdmError: more steps than timesteps.
    """
    count = int(schedule.last - schedule.first) + 1
    if steps > count:
        raise LdmError(
            f"num_inference_steps is {steps}, but the model was trained on {count} timesteps."
        )
    return count


def grid_at(schedule: NoiseSchedule, times: Sequence[float], final: Final) -> Sequence[Point]:
    """The points at these training timesteps, and the end point after them.

    Args:
        final: ``zero`` ends without noise, ``sigma_min`` at the least noise of the training.
    """
    points = [schedule.at(t) for t in times]
    if final == "zero":
        return [*points, CLEAN]
    least = schedule.at(schedule.first)
    return points if points[-1] == least and len(points) > 1 else [*points, least]
