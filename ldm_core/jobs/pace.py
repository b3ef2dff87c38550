"""How far a job is, over all its processes, and how fast it goes on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW = 60.0
"""Seconds back from now over which speed is measured."""
LEAST = 1.0
"""Seconds over which it is at least: it is looked twice a second how far a job is, so that of two
pictures that were seen a moment apart the first may have been there long before."""


@dataclass(frozen=True)
class Standing:
    """How far a job is.

    Attributes:
        pictures: all of the job's.
        done: those that are there.
        failed: those that could not be made so far.
    """

    pictures: int
    done: int
    failed: int = 0

    @property
    def left(self) -> int:
        return self.pictures - self.done - self.failed


class Pace:
    """Pictures a second, of the last minute, from the first that was made on: what is read before
    it is made takes no part.

    Args:
        standing: at the start; what was there before is not its speed.
    """

    def __init__(self, standing: Standing) -> None:
        self._before = standing.done + standing.failed
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, now: float, standing: Standing) -> float | None:
        """Pictures a second; None as long as no second batch is there, whose time is its own, and
        where the two were seen too close to one another to tell."""
        count = standing.done + standing.failed
        if count != (self._seen[-1][1] if self._seen else self._before):
            self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()
        if len(self._seen) < 2:
            return None
        (since, before), (until, after) = self._seen[0], self._seen[-1]
        enough = until - since >= LEAST and after > before
        return (after - before) / (until - since) if enough else None


def told(standing: Standing, rate: float | None) -> str:
    """A line of it: done, failed, left, speed, and time left."""
    words = [f"{standing.done} of {standing.pictures} done"]
    if standing.failed:
        words.append(f"{standing.failed} failed")
    words.append(f"{standing.left} left")
    if rate is not None:
        words.append(f"{rate:.1f} it/s" if rate >= 1 else f"{1 / rate:.1f} s/it")
        if standing.left:
            words.append(f"{clock(standing.left / rate)} left")
    return ", ".join(words)


def clock(seconds: float) -> str:
    """A time as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    whole = f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{days} d {whole}" if days else whole
