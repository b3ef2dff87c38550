"""What the `tones` world is made of, in words: pitches, how often they sound, and captions.

Nothing here draws and nothing here hears a sound; whoever does either takes its words from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ldm_core.errors import LdmError

RATE, SAMPLES = 8000, 8192
LEVELS = {"low": (200, 300), "middle": (450, 650), "high": (1000, 1500)}
"""Between which frequencies, in Hz, a pitch that stays lies."""
WAYS = ("rising", "falling")
NOISE = "noise"
NUMBERS = {2: "two", 3: "three"}


@dataclass(frozen=True)
class Sound:
    """What a caption says: a pitch of `LEVELS`, `WAYS` or `NOISE`, and how often it sounds."""

    pitch: str
    times: int = 1

    @classmethod
    def from_caption(cls, caption: str) -> Sound:
        """The sound that a caption of this world describes.

        Raises:
            LdmError: the caption is none of this world's.
        """
        for sound in sounds():
            if sound.caption == caption:
                return sound
        raise LdmError(
            f"{caption!r} is not worded like 'a rising tone', 'three high beeps' or 'noise'"
        )

    @property
    def caption(self) -> str:
        """In words: ``a rising tone``, ``three high beeps``, ``noise``."""
        if self.pitch == NOISE:
            return NOISE
        if self.times == 1:
            return f"a {self.pitch} tone"
        return f"{NUMBERS[self.times]} {self.pitch} beeps"


def sounds() -> list[Sound]:
    """Every sound of this world."""
    steady = [Sound(level, times) for times in (1, *NUMBERS) for level in LEVELS]
    return [*steady, *(Sound(way) for way in WAYS), Sound(NOISE)]
