"""Sounds in files: FLAC and WAV by soundfile."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ldm_core.composition.limits import available_bytes, in_words
from ldm_core.contracts import Shown
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media.comments import comment_of
from ldm_core.media.integers import to_integers
from ldm_core.media.media_forms import SOUNDS, MediaForm, form_of_media, opened
from ldm_core.media.riff import append_comment, check_whole, riff_comment
from ldm_core.media.video_files import Sound, read_track

MOST_CHANNELS = 8


def soundfile(what: str) -> Any:
    """The library, once it is seen to be installed.

    Args:
        what: needs it, for the message.
    """
    try:
        return import_module("soundfile")
    except (ImportError, OSError):  # of libsndfile, which it comes with on most systems
        raise LdmError(
            f"{what} needs the package soundfile, which is not installed.",
            "pip install 'ldm-core[sound]'",
        ) from None


def write_sound(
    shown: Shown, manifest: Mapping[str, Any], path: Path, form: str, inside: bool = True
) -> None:
    """Write a sound in 24 bits, with its manifest in the comment.

    What is louder than a file can hold is cut off at its loudest, which is said.

    Args:
        form: FLAC or WAV.
        inside: the file holds the manifest.
    Raises:
        LdmError: it has more channels than the format holds, or no whole rate.
    """
    library = soundfile(f"the format {form}")
    integers, beyond = to_integers(shown.data)
    note_cut_off(beyond)
    rate = whole_rate(shown.rate)
    channels = integers.shape[1]
    if not 1 <= channels <= MOST_CHANNELS:
        raise LdmError(
            f"a sound of {channels} channels cannot be written as {form}, which holds 8."
        )
    with (
        path.open("wb") as stream,
        library.SoundFile(stream, "w", rate, channels, "PCM_24", format=form) as file,
    ):
        if inside and form == "FLAC":
            file.comment = comment_of(manifest)
        file.write(integers << 8)  # in the upper 24 of 32 bits
    if inside and form == "WAV":
        append_comment(path, comment_of(manifest))


def note_cut_off(share: float) -> None:
    """Say it where samples were louder than a file can hold."""
    if share:
        warnings.warn(
            f"{share:.2%} of the sound's samples lie beyond [-1, 1], the loudest that a file has, "
            "and are cut off there; in Python, output_type='np' gives them as they are",
            LdmWarning,
            stacklevel=3,
        )


def whole_rate(rate: float | None) -> int:
    """Samples a second as files state them.

    Raises:
        LdmError: there is none, or it is no whole number.
    """
    if rate is None or rate != int(rate) or rate < 1:
        raise LdmError(f"a sound's file states a whole number of samples a second, not {rate}.")
    return int(rate)


def read_sound(source: Path | str, name: str = "sound") -> Sound:
    """A sound file, or the sound of a video.

    Args:
        name: what to call it in an error.
    Raises:
        LdmError: there is no such file, it is no sound, damaged or too large, or what reads it is
            not installed.
    """
    with opened(source, name) as (file, start):
        form = form_of_media(start)
        if form is None:
            raise LdmError(
                f"the {name} '{source}' is no sound that can be read.",
                f"sounds are read as {SOUNDS}, and of videos.",
            )
        if form.kind == "video":
            track = read_track(source, name)
            if track is None:
                raise LdmError(f"the video '{source}' has no sound.")
            return track
        library = soundfile(f"the {name} '{source}'")
        if form.format == "WAV":
            check_whole(file, source, name)
        try:
            with library.SoundFile(file) as sound:
                _check_size(sound, source, name)
                samples = sound.read(dtype="float32", always_2d=True).T
                if not sound.frames:
                    raise LdmError(f"the {name} '{source}' is empty: it holds no sample.")
                if samples.shape[1] < sound.frames or not samples.size:
                    raise LdmError(f"the {name} '{source}' cannot be read: it is cut off.")
                return Sound(samples.copy(), float(sound.samplerate))
        except library.LibsndfileError as error:
            raise LdmError(
                f"the {name} '{source}' cannot be read: it is damaged ({error.error_string})."
            ) from None


def tags_of(path: Path, form: MediaForm) -> str | None:
    """The comment of a sound file; None where it has none.

    Raises:
        ValueError: the file is damaged.
        LdmError: soundfile is not installed.
    """
    if form.format == "WAV":
        return riff_comment(path)
    library = soundfile(f"the manifest in '{path}'")
    with opened(path, "file") as (file, _):
        try:
            with library.SoundFile(file) as sound:
                return str(sound.comment) or None
        except library.LibsndfileError as error:
            raise ValueError(f"the file is damaged ({error.error_string})") from None


def _check_size(file: Any, source: Path | str, name: str) -> None:
    """Refuse what would fill the memory, by what the header says."""
    free = available_bytes()
    if file.frames * file.channels * 12 > free or file.channels > 64:
        raise LdmError(
            f"the {name} '{source}' has {file.frames:,} samples of {file.channels} channels, which "
            f"would take more than the {in_words(free)} of memory that are free."
        )
