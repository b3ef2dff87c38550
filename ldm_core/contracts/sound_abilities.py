"""Abilities of models of sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ldm_core.contracts.network import Condition

if TYPE_CHECKING:
    from torch import Tensor


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
        task: what is done, such as ``text2music`` or ``cover``.
        tracks: the instruments or voices that the task is about, as a person calls them.
        instruction: the task in words; empty for the family's own.
    """

    prompt: str
    lyrics: str
    vocal_language: str
    bpm: int | None
    keyscale: str
    timesignature: str
    task: str = "text2music"
    tracks: tuple[str, ...] = ()
    instruction: str = ""


@dataclass(frozen=True)
class Heard:
    """The sounds that a network hears beside what is said of a piece.

    Attributes:
        source: samples (channels, samples) of the sound that a task works on; None for none.
        codes: those of such a sound, in its place; empty for none.
        made: where what is made anew begins and ends in the source, in seconds, of which the
            end may be infinite; None for all of it.
        reference: samples (channels, samples) of a sound whose timbre is followed; None for none.
    """

    source: Tensor | None = None
    codes: tuple[int, ...] = ()
    made: tuple[float, float] | None = None
    reference: Tensor | None = None


@dataclass(frozen=True)
class SoundCodes:
    """The codes that a family's sounds are made of.

    Attributes:
        count: how many there are, from 0.
        places: of the latents, for which one stands.
    """

    count: int
    places: int


class SongAbility(Protocol):
    """Ability ``song``: how a family encodes what is said of music."""

    def encode(
        self, song: Song, seconds: float, places: int, heard: Heard | None = None
    ) -> Condition:
        """The network's condition for a piece, of one row.

        Args:
            seconds: how long it is.
            places: of its latents.
            heard: the sounds that belong to it; None for none.
        """
        ...

    def without(self, condition: Condition) -> Condition:
        """The condition for a piece of which nothing is said, of the same shapes."""
        ...


class MaskedSoundAbility(Protocol):
    """Ability ``masked_audio``: how a family tells its network of a sound of which a part is made
    anew."""

    def encode(self, latents: Tensor, keep: Tensor) -> Condition:
        """The network's condition, the same under every branch.

        Args:
            latents: of the sounds, (batch, channels, places).
            keep: 1 for each place that stays and 0 for those that are made anew, (batch, 1,
                places).
        """
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
