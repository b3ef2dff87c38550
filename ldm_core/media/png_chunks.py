"""The text inside a PNG file, of any length.

Pillow reads a PNG's text with bounds (`PIL.PngImagePlugin.MAX_TEXT_CHUNK`, ``MAX_TEXT_MEMORY``)
beyond which it refuses the whole file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

KEYWORD = "ldm"
"""Under which a manifest stands."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
LONGEST = 4 * 2**20
"""Bytes of a text that is read; what is packed may be many thousand times as long."""
MOST = 200_000
"""Chunks that are looked through."""


def text_under(path: Path, keyword: str) -> str | None:
    """The international text (iTXt) that a PNG file holds under a keyword, before or behind its
    pixels; None where the file is another one, or has none.

    Raises:
        ValueError: the text is longer than `LONGEST`, cut off or broken, or there are several.
    """
    texts = set()
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return None
        for body in _bodies(file, keyword.encode("latin-1") + b"\0"):
            entry = international(body)
            if entry is None:
                raise ValueError("its text is no UTF-8, cannot be unpacked, or is too long")
            texts.add(entry[1])
    if len(texts) > 1:
        raise ValueError(f"there are {len(texts)} of them, which say different things")
    return next(iter(texts), None)


def _bodies(file: BinaryIO, start: bytes) -> Iterator[bytes]:
    """The data of each iTXt chunk that begins so; the rest of the file is passed over."""
    for _ in range(MOST):
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind == b"IEND":
            return
        begin = file.read(min(length, len(start))) if kind == b"iTXt" else b""
        if begin != start:
            file.seek(length - len(begin) + 4, 1)
            continue
        if length > LONGEST:
            raise ValueError(f"it has {length} bytes, and at most {LONGEST} are read")
        body = begin + file.read(length - len(begin))
        if file.read(4) != zlib.crc32(kind + body).to_bytes(4, "big"):
            raise ValueError("it is cut off, or its check sum is that of another text")
        yield body
    raise ValueError(f"the file has more than {MOST} chunks")


def international(body: bytes) -> tuple[str, str] | None:
    """Keyword and text of an iTXt chunk; None where it is broken, or longer than `LONGEST`."""
    keyword, _, rest = body.partition(b"\0")
    compressed, rest = rest[:1] == b"\1", rest[2:]
    parts = rest.split(b"\0", 2)  # the language, the keyword in it, and the text
    try:
        text = unpacked(parts[2]) if compressed else parts[2]
        return keyword.decode("latin-1"), text.decode("utf-8")
    except (IndexError, zlib.error, UnicodeDecodeError):
        return None


def unpacked(data: bytes) -> bytes:
    """What was packed by zlib; `zlib.error` where it is broken, or longer than `LONGEST`."""
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(data, LONGEST)
    if not unpacking.eof:
        raise zlib.error("cut off, or too long")
    return text
