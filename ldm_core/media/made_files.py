"""Files of any kind of medium, by what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ldm_core.media.animations import is_animation
from ldm_core.media.hashes import OF_PIXELS, OF_SAMPLES, frames_hash, samples_hash
from ldm_core.media.manifest_record import RATE
from ldm_core.media.media_forms import form_of_media, opened
from ldm_core.media.names import write_whole
from ldm_core.media.pictures import open_picture
from ldm_core.media.sound_files import read_sound
from ldm_core.media.video_files import read_track, read_video


def kind_of_file(path: Path) -> str:
    """``video`` or ``audio`` of a file of these; ``image`` of any other.

    Raises:
        LdmError: it cannot be read.
    """
    with opened(path, "file") as (file, start):
        form = form_of_media(start)
        if form is not None:
            return form.kind
        moves = start[8:12] == b"WEBP" or start[:4] == b"GIF8"
        return "video" if moves and is_animation(file.read()) else "image"


def is_lossless(path: Path) -> bool:
    """Whether what is read from a video or sound, that was written here, is what was drawn."""
    with opened(path, "file") as (_, start):
        form = form_of_media(start)
    return start[8:12] == b"WEBP" if form is None else form.lossless


def is_as_written(path: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether a video or sound is what its manifest says: it has as many frames, and where it is
    stored without loss the same pixels and samples.

    Raises:
        LdmError: it cannot be read to its end.
    """
    lossless = is_lossless(path)
    if kind_of_file(path) == "audio":
        samples = samples_hash(read_sound(path).samples)
        return not lossless or manifest.get(OF_SAMPLES, samples) == samples
    frames, count = read_data(path, "video", manifest), manifest.get("extent", {}).get("frames")
    if count is not None and len(frames) != count:
        return False
    if not lossless:
        return True
    track, pixels = read_track(path), frames_hash(frames)
    heard = None if track is None else samples_hash(track.samples)
    return manifest.get(OF_PIXELS, pixels) == pixels and (
        heard is None or manifest.get(OF_SAMPLES, heard) == heard
    )


def read_data(path: Path, kind: str, manifest: Mapping[str, Any]) -> Any:
    """What a file shows, as a writer gets it: a picture, the frames of a video, the samples of a
    sound; None of another kind.

    Raises:
        LdmError: it cannot be read.
    """
    if kind == "image":
        return open_picture(path)
    if kind == "audio":
        return read_sound(path).samples
    if kind != "video":
        return None
    video, count = read_video(path), manifest.get("extent", {}).get("frames")
    rate = manifest.get(RATE) or video.rate
    return list(video.frames) if count is None or rate is None else video.at_rate(rate, count)


def write_frames(
    frames: Sequence[Image.Image], folder: Path, stem: str, *, overwrite: bool = False
) -> None:
    """Write each frame of a video as a PNG in a folder, ``STEM-0000.png`` and on.

    Raises:
        LdmError: a name is that of another file, which is not to be overwritten.
    """
    for index, frame in enumerate(frames):
        write_whole(
            folder / f"{stem}-{index:04}.png",
            partial(frame.save, format="PNG"),
            overwrite=overwrite,
        )
