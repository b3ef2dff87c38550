"""``ldm audio-to-audio``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import InputPath
from ldm_core.contracts.files import in_full
from ldm_core.errors import LdmError
from ldm_core.media.sound_files import read_sound
from ldm_core.run.in_batches import skipping
from ldm_pipelines.parts import arguments, conditioned
from ldm_pipelines.timed import (
    check_makes,
    check_reads,
    longest,
    time_of,
    with_length,
    with_seconds,
)

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline

MUSIC = "text2music"
"""The task of a model of music that is no task on a sound."""


@skipping
def audio_to_audio(
    pipe: Pipeline,
    audio: InputPath,
    *prompts: str,
    strength: float | None = None,
    repaint: str | None = None,
    seconds: float | None = None,
    **call: Any,
) -> Iterator[Output]:
    """Make sounds that start from a given one, make a part of it anew, or go on with it. A model
    that knows tasks on a sound, and is told one as ``task_type``, hears the sound at every step in
    place of starting from it.

    Args:
        audio: The sound to start from, or to work on; it is brought to the model's rate, cut, or
            followed by silence, which is said.
        prompts: What the new sounds should be.
        strength: Share of the way from noise that is walked, 0 to 1 (0.8, or 1 with --repaint).
        repaint: The times in seconds that are made anew, as 4-6; the rest stays. Times behind the
            sound's end go on with it.
        seconds: How long the new sounds are, as near as the model can; the model's own length where
            left out, or the sound's where that is less.
    """
    check_makes(pipe, "audio", "audio-to-audio")
    check_reads(pipe, "audio")
    whole = with_seconds(pipe, arguments(pipe, call, prompts), seconds)
    axis, rate = time_of(pipe), pipe.composition.info.rate
    if axis.name not in whole.extent and rate is not None:
        sound = read_sound(audio)
        there = round(sound.samples.shape[1] * rate / sound.rate)
        own = pipe.composition.extent(whole.extent)[axis.name]
        whole = with_length(whole, axis, own if own <= there else longest(axis, there))
    if whole.inputs.get("task_type", MUSIC) != MUSIC:
        if strength is not None or repaint is not None:
            raise LdmError(
                "a task hears the sound and does not start from it: strength and repaint are not "
                "for it.",
                "its times are repainting_start and repainting_end, and its share is "
                "audio_cover_strength.",
            )
        return pipe.batches_of(whole.with_inputs(src_audio=in_full(audio)))
    walked = strength if strength is not None else 0.8 if repaint is None else 1.0
    whole = whole.with_inputs(audio=in_full(audio), strength=walked, repaint=repaint)
    return conditioned(pipe, "ldm-core:audio").batches_of(whole)
