"""What a file of video or sound is, by its first bytes, and by nothing else.

A library that is asked to find out by itself would also take a list of other files or addresses for
a video, and open those.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError

MOST_BYTES = 1 << 31
"""Of a file of video or sound."""


@dataclass(frozen=True)
class MediaForm:
    """What a file is.

    Attributes:
        kind: of medium.
        format: as its library names it.
        lossless: what is read from one that is written here is what was drawn.
    """

    kind: str
    format: str
    lossless: bool


FORMS: tuple[tuple[re.Pattern[bytes], MediaForm], ...] = (
    (re.compile(rb"....ftyp", re.DOTALL), MediaForm("video", "mp4", False)),
    (re.compile(rb"\x1a\x45\xdf\xa3"), MediaForm("video", "matroska", True)),
    (re.compile(rb"fLaC"), MediaForm("audio", "FLAC", True)),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), MediaForm("audio", "WAV", True)),
    (re.compile(rb"OggS"), MediaForm("audio", "OGG", False)),
    (re.compile(rb"ID3|\xff[\xfb\xf3\xf2]"), MediaForm("audio", "MP3", False)),
)
VIDEOS = "MP4 (also .mov), Matroska (also .webm), WebP and GIF"
SOUNDS = "FLAC, WAV, Ogg and MP3"


def form_of_media(start: bytes) -> MediaForm | None:
    """The form of a file that begins so; None of any other, such as a picture."""
    return next((form for begins, form in FORMS if begins.match(start)), None)


@contextmanager
def opened(source: Path | str, name: str) -> Iterator[tuple[BinaryIO, bytes]]:
    """A file to be read, and nothing that never ends, with its first bytes.

    Args:
        name: what to call it in an error.
    Raises:
        LdmError: it cannot be opened, or is no file, or too large.
    """
    try:
        path = expanded(source)
        _check_file(path.stat().st_mode, source, name)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except LdmError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise LdmError(f"the {name} '{source}' cannot be read: {reason}.") from None
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        _check_file(about.st_mode, source, name)
        if about.st_size > MOST_BYTES:
            raise LdmError(
                f"the {name} '{source}' has more than {MOST_BYTES >> 30} GiB, which is not read."
            )
        start = file.read(64)
        file.seek(0)
        yield file, start


def _check_file(mode: int, source: Path | str, name: str) -> None:
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe, and no file"
        raise LdmError(f"the {name} '{source}' cannot be read: it is {what}.")
