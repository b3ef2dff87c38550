"""The part of the way that all schedulers walk, from one common point to another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point

Spacing = Literal["log-snr", "timestep", "karras"]
Data = Literal["own", "vp", "ve", "flow"]
"""Gaussian data on the model's own noise schedule, or on a path of another kind."""
NOISIEST = -8.0
"""The log-SNR where the way begins at most: before it there is hardly a signal, and where there is
none at all no steps are even in log-SNR."""
LAST = (0.02, 0.002)
"""Where the last stretch begins and ends, in shares of the training timesteps."""
RHO = 7.0  # Karras et al. 2022, arXiv:2206.00364, Eq. 5


@dataclass(frozen=True)
class Stretch:
    """A way from one point to another, neither pure noise nor clean.

    Attributes:
        name: for tables.
        start, end: its ends, which every grid has.
        spacing: "log-snr" and "timestep" make steps even in these, "karras" in (sigma/alpha)^(1/7).
    """

    name: str
    schedule: NoiseSchedule
    start: Point
    end: Point
    spacing: Spacing = "log-snr"

    def grid(self, steps: int) -> Grid:
        """So many steps from the one end to the other."""
        inner = [self._between(i / steps) for i in range(1, steps)]
        return Grid([self.start, *inner, self.end], self.schedule)

    def _between(self, share: float) -> Point:
        here, there = self.start, self.end
        if self.spacing == "timestep":
            return self.schedule.at(here.t + share * (there.t - here.t))
        if self.spacing == "karras":
            ends = here.ratio ** (1 / RHO), there.ratio ** (1 / RHO)
            return self.schedule.at_ratio((ends[0] + share * (ends[1] - ends[0])) ** RHO)
        ends = here.half_log_snr, there.half_log_snr
        return self.schedule.at_ratio(math.exp(-(ends[0] + share * (ends[1] - ends[0]))))

    def __str__(self) -> str:
        ends = [f"{log_snr(p):.2f} (t = {p.t:.4g})" for p in (self.start, self.end)]
        return f"from log-SNR {ends[0]} to {ends[1]}, steps even in {_EVEN_IN[self.spacing]}"


_EVEN_IN = {
    "log-snr": "log-SNR",
    "timestep": "the timestep",
    "karras": "(sigma/alpha)^(1/7)",
}


def log_snr(point: Point) -> float:
    """ln(alpha²/sigma²)."""
    return 2 * point.half_log_snr


def whole_way(schedule: NoiseSchedule, spacing: Spacing) -> Stretch:
    """From the noisiest timestep, or a log-SNR of -8 where that is later, to the least noisy."""
    last = schedule.at(schedule.last)
    start = last if log_snr(last) >= NOISIEST else schedule.at_ratio(math.exp(-NOISIEST / 2))
    return Stretch("whole way", schedule, start, schedule.at(schedule.first), spacing)


def last_stretch(schedule: NoiseSchedule, spacing: Spacing) -> Stretch:
    """The last fiftieth of the training timesteps, down to a five-hundredth."""
    length = schedule.last - schedule.first
    start, end = (schedule.at(schedule.first + share * length) for share in LAST)
    return Stretch("last stretch", schedule, start, end, spacing)


def stretch_between(
    schedule: NoiseSchedule, first: float | None, last: float | None, spacing: Spacing
) -> Stretch:
    """From one log-SNR to another; an end that is not said is that of the whole way.

    Raises:
        LdmError: they lie outside what the model was trained on, or in the wrong order.
    """
    whole = whole_way(schedule, spacing)
    noisiest, least = (log_snr(schedule.at(t)) for t in (schedule.last, schedule.first))
    ends = []
    for said, own in ((first, whole.start), (last, whole.end)):
        if said is None:
            ends.append(own)
            continue
        if not noisiest - 1e-9 <= said <= least + 1e-9:  # which NaN is not either
            raise LdmError(
                f"a log-SNR of {said:g} lies outside the noise schedule, which has {noisiest:.4g} "
                f"to {least:.4g}."
            )
        ends.append(schedule.at_ratio(math.exp(-said / 2)))
    if not ends[0].ratio > ends[1].ratio:
        raise LdmError(
            f"a walk goes from more noise to less, and not from log-SNR {log_snr(ends[0]):.4g} to "
            f"{log_snr(ends[1]):.4g}."
        )
    return Stretch("stretch", schedule, ends[0], ends[1], spacing)
