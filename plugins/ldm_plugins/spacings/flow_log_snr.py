"""Even log-SNR between two ends, from pure noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_plugins.spacings.shared.flow_time import FlowTime
from ldm_plugins.spacings.shared.ratios import evenly

MOST = 80.0


def flow_log_snr(
    schedule: NoiseSchedule, steps: int, *, noisiest: float = -6.2, cleanest: float = 2.0
) -> Sequence[Point]:
    """Flow times sigma/(alpha + sigma) at evenly spaced ln(alpha/sigma), the first of which is the
    noisiest point all the same, and the cleanest of which is left to the end point: those of Stable
    Audio 3.

    Args:
        noisiest: ln(alpha/sigma) where they start.
        cleanest: where one more of them would lie.
    """
    if not -MOST <= noisiest < cleanest <= MOST:
        raise LdmError(
            f"flow_log_snr needs noisiest < cleanest, both from -{MOST:g} to {MOST:g}, not "
            f"{noisiest:g} and {cleanest:g}."
        )
    path = FlowTime(schedule)
    logs = evenly(noisiest, cleanest, steps + 1, "zero")[1:-1]
    return [path.at(1.0), *(path.at(1 / (1 + math.exp(log))) for log in logs), CLEAN]
