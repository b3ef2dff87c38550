"""Linear, then quadratic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ldm_core.contracts.latents import AtLeastOne
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.flow_time import FlowTime


def linear_quadratic(
    schedule: NoiseSchedule,
    steps: int,
    *,
    threshold_noise: Annotated[float, Field(gt=0, lt=1)] = 0.025,
    linear_steps: AtLeastOne | None = None,
) -> Sequence[Point]:
    """Flow times sigma/(alpha + sigma) that fall by little and evenly at first, as in a run of many
    steps, then as a parabola down to no noise (Polyak et al. 2024, Movie Gen, arXiv:2410.13720,
    its linear-quadratic t-schedule; in this form Mochi 1 and ComfyUI).

    Where the last would lie below the least noise of the training, which takes hundreds of steps,
    all are stretched to end there.

    Args:
        threshold_noise: how far the even steps come, counted from the noisy end.
        linear_steps: how many there are of them; half of the steps where not given.
    Raises:
        LdmError: the even steps are more than all, or longer than those after them would be.
    """
    path = FlowTime(schedule)
    linear = steps // 2 if linear_steps is None else linear_steps
    if steps == 1 or linear == 0:
        return path.grid([1.0])
    if linear >= steps:
        raise LdmError(f"linear_quadratic has {linear} even steps, and {steps} in all.")
    slope, rest = threshold_noise / linear, steps - linear
    # From the threshold on with the same slope, and at 1 where the steps are over.
    bend = (1 - threshold_noise - slope * rest) / rest**2
    if bend < 0:
        raise LdmError(
            f"the {linear} even steps of linear_quadratic reach {threshold_noise:g}, which is more "
            f"than their share of {steps} steps.",
            "lower threshold_noise, or raise linear_steps.",
        )
    gone = [slope * i + bend * max(i - linear, 0) ** 2 for i in range(steps)]
    return path.grid([1 - share for share in gone])
