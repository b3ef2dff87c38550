"""Flow's time on any path."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point


class FlowTime:
    """Flow's time on any path: s/(1 - s) is sigma/alpha, or 1/(alpha/sigma - 1/greatest) where
    the trained ratio has a greatest value, so that s = 1 is always the noisiest point."""

    def __init__(self, schedule: NoiseSchedule) -> None:
        self._schedule = schedule
        self._last = schedule.at(schedule.last)
        self._least_signal = self._last.alpha / self._last.sigma

    def of(self, point: Point) -> float:
        signal = point.alpha / point.sigma - self._least_signal
        return 1 / (1 + max(signal, 0.0))

    def at(self, s: float) -> Point:
        if s >= 1:
            return self._last
        return self._schedule.at_ratio(1 / ((1 - s) / s + self._least_signal))

    def grid(self, times: Sequence[float]) -> Sequence[Point]:
        """The points at falling times, the first of them 1, and the clean end after them.

        Where the last would have less noise than the least of the training, all are stretched so
        that it has that.
        """
        least = self.of(self._schedule.at(self._schedule.first))
        if times[-1] < least:
            stretch = (1 - least) / (1 - times[-1])
            times = [1 - (1 - s) * stretch for s in times]
        return [*map(self.at, times), CLEAN]
