"""The comment of a WAV file, of any length: libsndfile writes and reads short ones alone.

Source: Multimedia Programming Interface and Data Specifications 1.0 (1991), chapter 2: the chunks
of RIFF, and the list INFO.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ldm_core.errors import LdmError
from ldm_core.media.png_chunks import LONGEST

MOST = 10_000
"""Chunks that are looked through."""
LARGEST = 2**32 - 9
"""Bytes that a RIFF can say that it has."""


def append_comment(path: Path, comment: str) -> None:
    """Put a comment (ICMT) of ASCII behind what is in a WAV file.

    Raises:
        LdmError: the file would be larger than a RIFF can say.
    """
    text = comment.encode("ascii") + b"\0"
    text += b"\0" * (len(text) % 2)
    body = b"INFOICMT" + len(text).to_bytes(4, "little") + text
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.write(b"\0" * (end % 2) + b"LIST" + len(body).to_bytes(4, "little") + body)
        size = file.tell() - 8
        if size > LARGEST:
            raise LdmError(
                f"a WAV file has at most {LARGEST:,} bytes, and this would have {size:,}.",
                "--format flac holds longer sounds.",
            )
        file.seek(4)
        file.write(size.to_bytes(4, "little"))


def check_whole(file: BinaryIO, source: Path | str, name: str) -> None:
    """Refuse a file that ends before it says that it does; one that does not say where, as of a
    broadcast, passes. The file is at its beginning then.

    Raises:
        LdmError: it is cut off.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(4)
    size = int.from_bytes(file.read(4), "little")
    file.seek(0)
    if size != 2**32 - 1 and size + 8 > length:
        raise LdmError(f"the {name} '{source}' cannot be read: it is cut off.")


def riff_comment(path: Path) -> str | None:
    """The comment in a WAV file; None where it has none.

    Raises:
        ValueError: it is cut off, or longer than is read.
    """
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        end = file.tell()
        for name, start, length in _chunks(file, 12, end):
            file.seek(start)
            if name != b"LIST" or file.read(4) != b"INFO":
                continue
            for inner, at, size in _chunks(file, start + 4, start + length):
                if inner != b"ICMT":
                    continue
                if size > LONGEST:
                    raise ValueError(f"it has {size} bytes, and at most {LONGEST} are read")
                file.seek(at)
                data = file.read(size)
                if len(data) < size:
                    raise ValueError("it is cut off")
                return data.rstrip(b"\0").decode("latin-1")
    return None


def _chunks(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of each chunk between two places of a RIFF."""
    for _ in range(MOST):
        file.seek(at)
        head = file.read(8)
        if at + 8 > end or len(head) < 8:
            return
        length = int.from_bytes(head[4:], "little")
        yield head[:4], at + 8, length
        at += 8 + length + (length & 1)
    raise ValueError(f"the file has more than {MOST} chunks")
