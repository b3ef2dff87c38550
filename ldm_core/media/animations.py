"""Videos as animated WebP and GIF, by Pillow."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from ldm_core.composition.limits import available_bytes, in_words
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media.exif import START, exif_of
from ldm_core.media.media_forms import VIDEOS
from ldm_core.media.picture_forms import Form, Unreadable, form_of
from ldm_core.media.pictures import opened_form
from ldm_core.media.strict_pillow import strict_pillow
from ldm_core.media.timed import Timed

FORMATS = ("WEBP", "GIF")


def durations_of(count: int, rate: float, unit: int) -> list[int]:
    """How many milliseconds each frame is shown, in whole units of so many, such that no frame
    begins more than half a unit from its time; that a rate is too high for that is said."""
    if rate * unit > 1000:
        warnings.warn(
            f"the format shows a frame for {unit} ms at least: {1000 // unit} frames a second, and "
            f"not {rate:g}",
            LdmWarning,
            stacklevel=3,
        )
    ends = [round(index * 1000 / rate / unit) * unit for index in range(count + 1)]
    return [max(end - start, unit) for start, end in pairwise(ends)]


def write_animated_webp(
    frames: Sequence[Image.Image], rate: float, manifest: Mapping[str, Any], path: Path
) -> None:
    """Write frames as an animated WebP without loss that goes round for ever, with its manifest.

    Raises:
        LdmError: they are larger than a WebP can be, 16,383 pixels a side.
    """
    whole = [frame.convert("RGB") for frame in frames]
    if max(whole[0].size) > 16_383:
        raise LdmError(
            f"frames of {whole[0].width}x{whole[0].height} pixels cannot be written as WebP, which "
            "ends at 16,383 a side.",
            "--format mkv takes larger ones.",
        )
    whole[0].save(
        path,
        format="WEBP",
        save_all=True,
        append_images=whole[1:],
        duration=durations_of(len(whole), rate, 1),
        loop=0,
        lossless=True,
        exact=True,
        quality=50,
        method=2,
        exif=exif_of(START + json.dumps(manifest)),
    )


def write_gif(frames: Sequence[Image.Image], rate: float, path: Path) -> None:
    """Write frames as a GIF that goes round for ever, each in 256 colours of its own."""
    few = [
        frame.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames
    ]
    few[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=few[1:],
        duration=durations_of(len(few), rate, 10),
        loop=0,
        disposal=1,
        optimize=False,
    )


def is_animation(data: bytes) -> bool:
    """Whether bytes are those of a WebP or GIF of several frames."""
    try:
        form = form_of(data)
    except Unreadable:
        return False
    return form.format in FORMATS and form.several


def read_animation(data: bytes, source: Path | str, name: str, most: int) -> Timed:
    """The frames of a WebP or GIF.

    Args:
        source: what the person named, and what to call it.
        most: frames that are read.
    Raises:
        LdmError: it is none, or damaged, or its frames would fill the memory.
    """
    try:
        form = form_of(data)
        if form.format not in FORMATS:
            raise Unreadable("it is a picture, and no video")
        with strict_pillow():
            return _read(form, most)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise what they like of a broken file
        if isinstance(error, UnidentifiedImageError):
            reason = "it is damaged"
        elif isinstance(error, Unreadable):
            reason = str(error).removesuffix(", which are the formats that are read")
        else:
            reason = f"the file is damaged ({str(error) or type(error).__name__})"
        raise LdmError(
            f"the {name} '{source}' cannot be read: {reason.rstrip('.')}.",
            f"videos are read as {VIDEOS}.",
        ) from None


def _read(form: Form, most: int) -> Timed:
    frames: list[Image.Image] = []
    times: list[float] = []
    free, at = available_bytes(), 0.0
    with opened_form(form) as file:
        for index in range(most):
            try:
                file.seek(index)
            except EOFError:
                break
            file.load()
            frames.append(file.convert("RGB"))
            times.append(at)
            at += float(file.info.get("duration") or 0) / 1000
            if (len(frames) + 1) * file.width * file.height * 12 > free:
                raise Unreadable(
                    f"its frames would take more than the {in_words(free)} of memory that are free"
                )
    return Timed(tuple(frames), tuple(times), at or len(frames), len(frames) / at if at else None)
