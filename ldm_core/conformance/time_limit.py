"""When a check has taken too long, on a machine that others use too."""

from __future__ import annotations

from contextlib import suppress

import psutil

LEAST = 0.02
"""The share of the time that what computes has of a processor, also beside many others."""


class TimeLimit:
    """How long a process may take for each of its checks.

    It has taken too long when it had so many seconds of the processor; or when so many have gone by
    on the clock, in which it had next to none. So one that waits for what never comes is ended
    soon, and one that the machine has no time for is let be.

    Args:
        pid: of the process.
    """

    def __init__(self, pid: int) -> None:
        self._process: psutil.Process | None = None
        with suppress(psutil.Error):
            self._process = psutil.Process(pid)
        self._now = self._begun = 0.0

    def begin(self) -> None:
        """A check begins now."""
        self._begun = self._now = self._seconds()

    def is_over(self, limit: float, waited: float) -> bool:
        """Whether it has taken too long.

        Args:
            limit: seconds.
            waited: seconds on the clock since this was asked, or the check began.
        """
        before, self._now = self._now, self._seconds()
        return self._now - before < LEAST * waited or self._now - self._begun >= limit

    def _seconds(self) -> float:
        """Seconds of the processor that the process has had, and those that it began and that have
        ended; as before where it is gone."""
        with suppress(psutil.Error):
            if self._process is not None:
                times = self._process.cpu_times()
                return float(sum(times[:4]))
        return self._now
