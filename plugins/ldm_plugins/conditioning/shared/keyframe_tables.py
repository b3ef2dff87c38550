"""Keyframes of a video, as a person gives them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Axis, Extent
from ldm_core.contracts.abilities import Keyframe
from ldm_core.errors import LdmError, LdmWarning, did_you_mean
from ldm_core.media.arrays import is_array
from ldm_core.media.clips import read_clip
from ldm_core.media.video_files import read_video
from ldm_core.values import brief, is_number, is_whole
from ldm_plugins.conditioning.shared.pictures import read_picture, size_of, to_pixels

if TYPE_CHECKING:
    from torch import Tensor

KEYS = ("image", "video", "frame_index", "strength")
FORM = 'such as {image = "a.png", frame_index = 8}'
LEAST = 2  # latents of a piece of video within a video


@dataclass(frozen=True)
class Reading:
    """What keyframes are read for.

    Attributes:
        extent: of the video.
        time: its axis.
        rate: frames a second; None where it is not known.
        mode: of pictures.
    """

    extent: Extent
    time: Axis
    rate: float | None
    mode: str


def read_keyframes(value: Any, reading: Reading) -> list[Keyframe]:
    """The keyframes of one video; none for None.

    Raises:
        LdmError: one is none, of another size, or does not lie within the video; or there are more
            of them than the video has latents.
    """
    if value is None:
        return []
    entries = value if isinstance(value, list | tuple) else [value]
    read = [_read(entry, reading) for entry in entries]
    places = reading.time.places(reading.extent["frames"])
    within = sum(min(reading.time.places(k.frames), LEAST) for k in read if k.frame)
    if within > places:
        raise LdmError(
            f"the keyframes within the video take {within} latents of their own, and the video has "
            f"{places}; give fewer, or make it longer."
        )
    return read


def _read(entry: Any, reading: Reading) -> Keyframe:
    if not isinstance(entry, Mapping):
        raise LdmError(f"a keyframe should be a table {FORM}, not {brief(entry)}.")
    for key in entry:
        if key not in KEYS:
            raise LdmError(
                f"a keyframe has no '{key}'.{did_you_mean(str(key), KEYS)} It has "
                f"{', '.join(KEYS)}."
            )
    if ("image" in entry) == ("video" in entry):
        raise LdmError(f"a keyframe needs an image or a video, {FORM}, not {brief(entry)}.")
    frame, strength = entry.get("frame_index", 0), entry.get("strength", 1.0)
    count = reading.extent["frames"]
    if not is_whole(frame) or not 0 <= frame < count:
        raise LdmError(
            f"the frame_index of a keyframe should be one of the video's frames, 0 to {count - 1}, "
            f"not {brief(frame)}."
        )
    if not is_number(strength) or not 0 <= strength <= 1:
        raise LdmError(
            f"the strength of a keyframe should be a number from 0 to 1, not {brief(strength)}."
        )
    if frame and strength != 1:
        raise LdmError(
            f"a keyframe at frame {frame} is shown beside the video, whole; a strength of "
            f"{strength:g} is for what begins it.",
            "leave strength out, or take frame_index 0.",
        )
    if "image" in entry:
        picture = entry["image"]
        return Keyframe(frame, 1, float(strength), lambda: _picture(picture, reading))
    video = entry["video"]
    frames = _room(video, frame, reading)
    return Keyframe(frame, frames, float(strength), lambda: _clip(video, frames, reading))


def _picture(value: Any, reading: Reading) -> Tensor:
    picture = read_picture("image of a keyframe", value, reading.mode)
    height, width = reading.extent["height"], reading.extent["width"]
    if picture.shape[:2] != (height, width):
        raise LdmError(
            f"the image of a keyframe is {size_of(picture)} pixels and {width}x{height} is to be "
            "made; scale it, or ask for its size."
        )
    pixels = to_pixels("image of a keyframe", [value], reading.mode)
    return pixels[0].unsqueeze(1) * 2 - 1


def _clip(value: Any, frames: int, reading: Reading) -> Tensor:
    extent = {**reading.extent, "frames": frames}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*are taken", category=LdmWarning)
        clip = read_clip(value, extent, reading.rate, len(reading.mode), "video of a keyframe")
    return clip * 2 - 1


def _room(video: Any, frame: int, reading: Reading) -> int:
    """How many frames of a video are taken: all that lie within the one that is made, down to a
    length that latents have."""
    time = reading.time
    there = _there(video, reading.rate)
    room = min(there, reading.extent["frames"] - frame)
    frames = (room - 1) // time.stride * time.stride + 1
    if frame and (frame % time.stride or time.places(frames) < LEAST):
        raise LdmError(
            f"a piece of video within a video begins at a multiple of {time.stride} frames and has "
            f"at least {time.stride + 1}; this one of {there} begins at {frame}, where there is "
            f"room for {room}.",
            "a single frame is given as an image.",
        )
    return frames


def _there(video: Any, rate: float | None) -> int:
    """How many frames a video has."""
    if is_array(video):
        return len(video)
    if not isinstance(video, str | Path):
        raise LdmError(f"the video of a keyframe should be a file or an array, not {brief(video)}.")
    timed = read_video(video, "video of a keyframe")
    return len(timed.frames) if rate is None else timed.count_at(rate)
