"""Even flow times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_plugins.spacings.shared.flow_time import FlowTime
from ldm_plugins.spacings.shared.ratios import evenly

Share = Annotated[float, Field(ge=0, le=1)]


def flow_times(
    schedule: NoiseSchedule, steps: int, *, first: Share = 1.0, last: Share = 0.0
) -> Sequence[Point]:
    """Evenly spaced flow times sigma/(alpha + sigma) (Liu et al. 2022, arXiv:2209.03003), the
    cleanest of which is left to the end point.

    With `flow_shift` around it, Diffusers' points of multistep methods on a flow: DPM-Solver's,
    DEIS' and SA-Solver's from 0.999 to 0 where 1000 timesteps were trained, UniPC's from 1 to
    0.001.

    Args:
        first: where they start; 1 is the noisiest point.
        last: where one more of them would lie.
    """
    if not last < first:
        raise LdmError(f"flow_times needs last < first, not {last:g} and {first:g}.")
    path = FlowTime(schedule)
    times = evenly(first, last, steps + 1, "zero")[:-1]
    return [*map(path.at, times), CLEAN]
