"""Videos written by PyAV: H.264 in MP4, and FFV1 without loss in Matroska."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ldm_core.contracts import Shown
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media.comments import TAG, comment_of
from ldm_core.media.sound_files import note_cut_off, whole_rate
from ldm_core.media.timed import said_rate
from ldm_core.media.video_files import pyav

BT709 = 1
"""Matrix, primaries and transfer of high-definition video, in the numbers of ITU-T H.273."""
LIMITED, FULL = 1, 2
"""Ranges of brightness, in FFmpeg's numbers."""


@dataclass(frozen=True)
class Coding:
    """How a container holds frames and sound.

    Attributes:
        container: in FFmpeg's words, as all else.
        codecs: of frames, the best first; the first that the installed build has is taken.
        pixels: the form of a frame.
        options: of the codec.
        sound: the codec of the sound, and the form of its samples.
        lossless: frames are read as they were drawn.
    """

    container: str
    codecs: tuple[str, ...]
    pixels: str
    sound: tuple[str, str]
    options: Mapping[str, str] = field(default_factory=dict)
    lossless: bool = False


MP4 = Coding(
    "mp4",
    ("libx264", "libopenh264", "mpeg4"),
    "yuv420p",
    ("aac", "fltp"),
    {"crf": "16", "preset": "medium"},
)
MATROSKA = Coding(
    "matroska", ("ffv1",), "bgr0", ("pcm_f32le", "flt"), {"level": "3", "slicecrc": "1"}, True
)


def write_video(shown: Shown, manifest: Mapping[str, Any], path: Path, coding: Coding) -> None:
    """Write frames, and their sound where there is one, with the manifest as the comment.

    Raises:
        LdmError: PyAV is not installed, or its build has none of the codecs.
    """
    av = pyav(f"a video in {coding.container}")
    codec = _codec(av, coding)
    rate = Fraction(said_rate(shown.rate)).limit_denominator(100_000)
    frames = list(_even(shown.data, coding))
    sound = shown.beside.get("audio")
    heard = None if sound is None else _rate_of(av, sound, coding)
    flags = {"fflags": "+bitexact"}  # nothing of the day or the machine in the file
    if coding.container == "mp4":
        flags["movie_timescale"] = str(_ticks(rate, heard))
    with path.open("wb") as file, av.open(file, "w", coding.container, options=flags) as container:
        container.metadata[TAG] = comment_of(manifest)
        video = container.add_stream(codec, rate=rate)
        video.width, video.height = frames[0].size
        video.pix_fmt = coding.pixels
        video.options = dict(coding.options) if codec == coding.codecs[0] else {}
        video.codec_context.thread_count = 1  # on which what is written may depend
        if not coding.lossless:
            context = video.codec_context
            context.color_range, context.colorspace = LIMITED, BT709
            context.color_primaries, context.color_trc = BT709, BT709
        if sound is not None and heard is not None:
            _Track(av, container, coding, sound, heard).write()
        for index, image in enumerate(frames):
            container.mux(video.encode(_frame(av, image, coding, index)))
        container.mux(video.encode(None))


def _ticks(rate: Fraction, heard: int | None) -> int:
    """Ticks a second of an MP4's clock, in whole numbers of which it says how long each track is:
    FFmpeg's thousand would cut the sound to a millisecond.

    Args:
        rate, heard: frames and samples a second.
    """
    both = math.lcm(rate.numerator, heard or 1)
    return both if both < 2**31 else heard or rate.numerator


def _codec(av: Any, coding: Coding) -> str:
    """The first of the codecs that the build has; said where that is another than the best."""
    for name in coding.codecs:
        try:
            av.Codec(name, "w")
        except ValueError:  # the build has it not
            continue
        if name != coding.codecs[0]:
            warnings.warn(
                f"the installed PyAV has no {coding.codecs[0]}, and the frames are coded by {name}",
                LdmWarning,
                stacklevel=3,
            )
        return name
    raise LdmError(
        f"the installed PyAV has none of {', '.join(coding.codecs)}, so no {coding.container} can "
        "be written.",
        "--format webp_animation needs no PyAV.",
    )


def _even(frames: Sequence[Image.Image], coding: Coding) -> Iterator[Image.Image]:
    """Frames in RGB whose sides are even where colours are stored for two pixels a side at once: an
    odd side has its last row or column twice, which is said."""
    width, height = frames[0].size
    wide, high = width + width % 2, height + height % 2
    if coding.lossless or (wide, high) == (width, height):
        yield from (frame.convert("RGB") for frame in frames)
        return
    warnings.warn(
        f"an MP4 has even sides, so that frames of {width}x{height} pixels are written as "
        f"{wide}x{high}, the last row or column twice; --format mkv keeps them as they are",
        LdmWarning,
        stacklevel=3,
    )
    for frame in frames:
        pixels = np.asarray(frame.convert("RGB"))
        yield Image.fromarray(
            np.pad(pixels, ((0, high - height), (0, wide - width), (0, 0)), mode="edge")
        )


def _frame(av: Any, image: Image.Image, coding: Coding, index: int) -> Any:
    frame = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
    if coding.lossless:
        frame = frame.reformat(format=coding.pixels)
    else:
        frame = frame.reformat(
            format=coding.pixels,
            dst_colorspace=av.video.reformatter.Colorspace.ITU709,
            dst_color_range=av.video.reformatter.ColorRange.MPEG,
        )
    frame.pts = index
    return frame


class _Track:
    """The sound of a video, as its container holds it.

    Args:
        container: to which a stream is added.
        to: its rate there, see `_rate_of`.
    """

    def __init__(self, av: Any, container: Any, coding: Coding, sound: Shown, to: int) -> None:
        self._av, self._container = av, container
        name, self._form = coding.sound
        samples = np.asarray(sound.data, dtype=np.float32)
        if samples.shape[0] not in (1, 2):
            raise LdmError(
                f"the sound of a video has 1 or 2 channels in a file, and this has {len(samples)}."
            )
        note_cut_off(float((np.abs(samples) > 1).mean()) if not coding.lossless else 0.0)
        self._samples = samples if coding.lossless else samples.clip(-1, 1)
        self._rate, self._layout = whole_rate(sound.rate), "mono" if len(samples) == 1 else "stereo"
        self._to = to
        self._stream = container.add_stream(name, rate=self._to, layout=self._layout)
        self._stream.format = self._form

    def write(self) -> None:
        """Encode all of it."""
        planar = self._form.endswith("p")
        array = self._samples if planar else self._samples.T.reshape(1, -1)
        frame = self._av.AudioFrame.from_ndarray(
            np.ascontiguousarray(array), format=self._form, layout=self._layout
        )
        frame.sample_rate, frame.pts = self._rate, 0
        frame.time_base = Fraction(1, self._rate)
        resampler = self._av.AudioResampler(
            format=self._form, layout=self._layout, rate=self._to, frame_size=1024
        )
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            self._container.mux(self._stream.encode(part))
        self._container.mux(self._stream.encode(None))


def _rate_of(av: Any, sound: Shown, coding: Coding) -> int:
    """The rate of a sound in a file: its own, or the codec's that loses nothing of it, which is
    said."""
    name, rate = coding.sound[0], whole_rate(sound.rate)
    rates: Sequence[int] | None = av.Codec(name, "w").audio_rates
    if not rates or rate in rates:
        return rate
    higher = [other for other in rates if other > rate]
    to: int = min(higher) if higher else max(rates)
    warnings.warn(
        f"{name} has no rate of {rate:,} samples a second, and the video's sound is written at "
        f"{to:,}; --format mkv keeps it as it is",
        LdmWarning,
        stacklevel=4,
    )
    return to
