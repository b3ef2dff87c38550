"""Videos read from files: MP4 and Matroska by PyAV, animated WebP and GIF by Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ldm_core.composition.limits import available_bytes, in_words
from ldm_core.errors import LdmError
from ldm_core.media.animations import read_animation
from ldm_core.media.containers import check_whole
from ldm_core.media.media_forms import VIDEOS, MediaForm, form_of_media, opened
from ldm_core.media.picture_forms import Unreadable, check_size
from ldm_core.media.timed import Timed

if TYPE_CHECKING:
    import numpy as np

CODECS = "h264,hevc,vp8,vp9,libdav1d,av1,ffv1,mpeg4,mjpeg,png"
"""Of pictures, that are decoded; each has seen many hostile files."""
SOUNDS = "aac,mp3,opus,vorbis,flac,alac,pcm_s16le,pcm_s24le,pcm_s32le,pcm_f32le"
MOST_FRAMES = 100_000
TURNS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}
"""Counter-clockwise, as the file says that it is to be turned to stand upright."""


@dataclass(frozen=True)
class Sound:
    """A sound as it stands in a file.

    Attributes:
        samples: (channels, samples) float32 in about [-1, 1].
        rate: samples a second.
    """

    samples: np.ndarray[Any, Any]
    rate: float


def read_video(source: Path | str, name: str = "video", most: int = MOST_FRAMES) -> Timed:
    """The frames of a video file, each with its time.

    Of an MP4 or Matroska the first video track is read, upright; of a file that varies how long it
    shows frames the times say so.

    Args:
        name: what to call it in an error.
        most: frames that are read.
    Raises:
        LdmError: there is no such file, it is none of these, damaged, too large, or what reads it
            is not installed.
    """
    with opened(source, name) as (file, start):
        form = form_of_media(start)
        if form is None:
            return read_animation(file.read(), source, name, most)
        if form.kind != "video":
            raise LdmError(
                f"the {name} '{source}' is a sound ({form.format}), and no video.",
                f"videos are read as {VIDEOS}.",
            )
        container = _container(file, form, source, name)
        with container:
            return _frames(container, source, name, most)


def read_track(source: Path | str, name: str = "video") -> Sound | None:
    """The sound of a video file; None where it has none. Errors as of `read_video`."""
    with opened(source, name) as (file, start):
        form = form_of_media(start)
        if form is None or form.kind != "video":
            return None
        with _container(file, form, source, name) as container:
            return _sound(container, source, name)


def tags_of(path: Path, form: MediaForm) -> str | None:
    """The comment of a video file; None where it has none.

    Raises:
        ValueError: the file is damaged.
        LdmError: PyAV is not installed.
    """
    with opened(path, "file") as (file, _):
        try:
            with _container(file, form, path, "file") as container:
                tags = {key.lower(): value for key, value in container.metadata.items()}
        except LdmError as error:
            if "needs the package" in error.message:
                raise
            raise ValueError(error.message) from None
    return tags.get("comment")


def pyav(what: str) -> Any:
    """PyAV, once it is seen to be installed.

    Args:
        what: needs it, for the message.
    """
    try:
        import av
    except ImportError:
        raise LdmError(
            f"{what} needs the package av (PyAV), which is not installed.",
            "pip install 'ldm-core[video]'",
        ) from None
    return av


def _container(file: Any, form: MediaForm, source: Path | str, name: str) -> Any:
    """A file that is opened, by the format that its first bytes say: FFmpeg guesses nothing, and
    opens nothing else."""
    av = pyav(f"the {name} '{source}'")
    check_whole(file, form.format, source, name)
    options = {"codec_whitelist": f"{CODECS},{SOUNDS}", "protocol_whitelist": ""}
    try:
        return av.open(file, "r", format=form.format, options=options, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise _damaged(source, name, error) from None


def _damaged(source: Path | str, name: str, error: Exception) -> LdmError:
    reason = str(error) or type(error).__name__
    return LdmError(f"the {name} '{source}' cannot be read: it is damaged ({reason}).")


def _frames(container: Any, source: Path | str, name: str, most: int) -> Timed:
    av = pyav(f"the {name} '{source}'")
    if not container.streams.video:
        raise LdmError(f"the {name} '{source}' has no track of pictures.")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise LdmError(f"the {name} '{source}' is damaged, or coded in a way that is not read.")
    stream.thread_type = "AUTO"
    frames: list[Image.Image] = []
    times: list[float] = []
    free, frame = available_bytes(), None
    size = (stream.codec_context.width, stream.codec_context.height)
    try:
        check_size(*size)
        for frame in container.decode(stream):
            if (frame.width, frame.height) != size or frame.is_corrupt:
                raise Unreadable("the file is damaged: frames are broken, or of other sizes")
            if (len(frames) + 1) * size[0] * size[1] * 3 * 4 > free:
                raise Unreadable(
                    f"its frames would take more than the {in_words(free)} of memory that are free"
                )
            image = Image.fromarray(frame.to_ndarray(format="rgb24"))
            turn = TURNS.get(round(frame.rotation) % 360)
            frames.append(image if turn is None else image.transpose(turn))
            times.append(len(times) if frame.time is None else float(frame.time))
            if len(frames) >= most:
                break
    except Unreadable as error:
        raise LdmError(f"the {name} '{source}' cannot be read: {error}.") from None
    except (av.error.FFmpegError, ValueError) as error:
        raise _damaged(source, name, error) from None
    if not frames or frame is None:
        raise LdmError(f"the {name} '{source}' has no frames.")
    rate = float(stream.average_rate or stream.guessed_rate or 0) or None
    length = 1 / rate if rate else 1.0
    if frame.duration and frame.time_base:
        length = float(frame.duration * frame.time_base)
    return Timed(tuple(frames), tuple(times), times[-1] + length, rate)


def _sound(container: Any, source: Path | str, name: str) -> Sound | None:
    import numpy as np

    av = pyav(f"the {name} '{source}'")
    if not container.streams.audio:
        return None
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise LdmError(f"the sound of '{source}' is damaged, or coded in a way that is not read.")
    try:
        parts = list(_samples(container, stream))
    except (av.error.FFmpegError, ValueError) as error:
        raise _damaged(source, name, error) from None
    if not parts:
        return None
    return Sound(np.concatenate(parts, axis=1), float(stream.rate))


def _samples(container: Any, stream: Any) -> Iterator[np.ndarray[Any, Any]]:
    """(channels, samples) float32, piece by piece, bounded by the memory that is free. A packet
    whose file says that it lasts shorter than what is in it, as the last one of AAC, is cut there,
    which FFmpeg leaves to its callers."""
    av = pyav("a sound")
    resampler = av.AudioResampler(format="fltp")
    held, free = 0, available_bytes()
    for frame in container.decode(stream):
        in_samples = frame.time_base == Fraction(1, frame.sample_rate)
        lasts = frame.duration if in_samples and frame.duration else frame.samples
        for part in resampler.resample(frame):
            array = part.to_ndarray()[:, :lasts]
            held += array.nbytes
            if held * 3 > free:
                raise ValueError("it would fill the memory")
            yield array
    for part in resampler.resample(None):
        yield part.to_ndarray()
