"""Frames with their times, and how others are chosen of them."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from dataclasses import dataclass

from PIL.Image import Image

from ldm_core.errors import LdmWarning

NO_RATE = 8.0
"""Frames a second of a video that says none."""


def said_rate(rate: float | None) -> float:
    """Frames a second, of a video that says none `NO_RATE`, which is said."""
    if rate is None:
        warnings.warn(
            f"the video says no frame rate, and its file shows {NO_RATE:g} frames a second; "
            "frame_rate says another",
            LdmWarning,
            stacklevel=3,
        )
    return rate or NO_RATE


@dataclass(frozen=True)
class Timed:
    """The frames of a video as they stand in a file.

    Attributes:
        frames: all of one size, RGB.
        times: of each, in seconds, rising.
        end: when the last is no longer shown, in seconds.
        rate: frames a second, on average; None where the file does not say it.
    """

    frames: tuple[Image, ...]
    times: tuple[float, ...]
    end: float
    rate: float | None

    def at_rate(self, rate: float, count: int) -> list[Image]:
        """So many frames, one every 1 / rate seconds from the first on: of each moment the frame
        that is then shown, or begins within half a frame's time, none of them mixed; fewer where
        the video ends before.

        Times that were rounded in the file, as to milliseconds, so give each frame once.
        """
        length = (self.end - self.times[0]) / len(self.frames)
        half = min(length, 1 / rate) / 2
        shown = (self.times[0] + i / rate for i in range(min(count, self.count_at(rate))))
        places = [max(bisect_right(self.times, m + half * 0.999) - 1, 0) for m in shown]
        return [self.frames[place] for place in places]

    def count_at(self, rate: float) -> int:
        """How many frames there are, one every 1 / rate seconds."""
        return max(1, math.ceil((self.end - self.times[0]) * rate - 0.25))
