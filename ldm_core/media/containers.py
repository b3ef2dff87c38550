"""Whether all of a video file is there: FFmpeg reads one that is cut off as a shorter one.

Sources: ISO/IEC 14496-12, section 4.2 (the boxes of an MP4); RFC 8794, section 4 (sizes of
elements), and RFC 9559, section 5.1 (the segment of a Matroska).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from ldm_core.errors import LdmError

SEGMENT = b"\x18\x53\x80\x67"
MARK = 4
"""Bytes of the identifier of a Matroska's two elements, its head and its segment."""
MOST_BOXES = 100_000


def check_whole(file: BinaryIO, form: str, source: Path | str, name: str) -> None:
    """Refuse a file that ends before it says that it does; one that does not say where, as of a
    broadcast, passes. The file is at its beginning then.

    Args:
        form: ``mp4`` or ``matroska``.
    Raises:
        LdmError: it is cut off, or none of these.
    """
    length = file.seek(0, os.SEEK_END)
    whole = _matroska(file, length) if form == "matroska" else _boxes(file, length)
    file.seek(0)
    if not whole:
        raise LdmError(f"the {name} '{source}' cannot be read: it is damaged, or cut off.")


def _boxes(file: BinaryIO, length: int) -> bool:
    at = 0
    for _ in range(MOST_BOXES):
        if at == length:
            return True
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 0:  # up to the end of the file
            return len(head) >= 8
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if size < 8 or at + size > length:
            return False
        at += size
    return False


def _matroska(file: BinaryIO, length: int) -> bool:
    file.seek(MARK)
    head = _size(file)
    file.seek(head or 0, os.SEEK_CUR)
    if head is None or file.read(MARK) != SEGMENT:
        return False
    size = _size(file)
    return file.tell() + (size or 0) <= length


def _size(file: BinaryIO) -> int | None:
    """The size of an element's content; None where it is unknown, or the file ends."""
    first = file.read(1)
    if not first or first == b"\0":
        return None
    more = 8 - first[0].bit_length()
    value = (first[0] & (0x7F >> more)).to_bytes(1, "big") + file.read(more)
    number = int.from_bytes(value, "big")
    return None if number == (1 << 7 * (more + 1)) - 1 else number
