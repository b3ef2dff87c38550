"""Abilities of models of sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ldm_core.contracts.network import Condition


class DurationAbility(Protocol):
    """Ability ``duration``: how a family tells its network which part of how long a sound it is to
    make."""

    def encode(self, spans: Sequence[tuple[float, float]]) -> Condition:
        """The network's condition for each sound; the same under every branch.

        Args:
            spans: where what is made begins in the whole sound, and where that ends, in seconds.
        Raises:
            LdmError: the network knows no such times.
        """
        ...


@dataclass(frozen=True)
class Song:
    """What is said of a piece of music.

    Attributes:
        prompt: how it sounds.
        lyrics: what is sung; empty of one without singing.
        vocal_language: of the lyrics, as by ISO 639-1, such as ``en``.
        bpm: beats a minute; None where that is left to the network.
        keyscale: such as ``C major``; empty where that is left to the network.
        timesignature: such as ``4``; empty where that is left to the network.
    """

    prompt: str
    lyrics: str
    vocal_language: str
    bpm: int | None
    keyscale: str
    timesignature: str


class SongAbility(Protocol):
    """Ability ``song``: how a family encodes what is said of music."""

    def encode(self, song: Song, seconds: float, places: int) -> Condition:
        """The network's condition for a piece, of one row.

        Args:
            seconds: how long it is.
            places: of its latents.
        """
        ...

    def without(self, condition: Condition) -> Condition:
        """The condition for a piece of which nothing is said, of the same shapes."""
        ...


class SoundTextAbility(Protocol):
    """Ability ``sound_text``: how a family encodes a prompt and a negative one that its pipeline
    reads as long as the prompt."""

    def encode(self, text: str, like: Condition | None = None) -> Condition:
        """The network's condition for a text, of one row.

        Args:
            like: the condition of the prompt that this is the negative one of; None for a prompt.
        """
        ...
