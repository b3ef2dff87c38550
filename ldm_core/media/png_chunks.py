"""The text inside a PNG file, of any length.

Pillow reads a PNG's text with bounds (`PIL.PngImagePlugin.MAX_TEXT_CHUNK`, ``MAX_TEXT_MEMORY``)
beyond which it refuses the whole file.
"""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT = (b"tEXt", b"zTXt", b"iTXt")
LONGEST_TEXT = 2**24
"""Bytes of a text that `read_text` reads."""
TELLS_ORIENTATION = (b"XML:com.adobe.xmp\0", b"Raw profile type ")
"""How text begins that Pillow reads more than words from."""


def split_text(data: bytes) -> tuple[bytes, dict[str, str]]:
    """A PNG without its text chunks, and the international text (iTXt) in them by keyword.

    Damaged chunks are left for Pillow to refuse.

    Source: the PNG specification (ISO/IEC 15948), Sections 5.3 and 11.3.4.5.
    """
    kept, texts, start = [data[:8]], {}, 8
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        kind, body = data[start + 4 : start + 8], data[start + 8 : end - 4]
        if kind in TEXT and not body.startswith(TELLS_ORIENTATION):
            if kind == b"iTXt" and (entry := _international(body)):
                texts[entry[0]] = entry[1]
        else:
            kept.append(data[start:end])
        start = end
    return b"".join([*kept, data[start:]]), texts


def read_text(file: BinaryIO) -> dict[str, str]:
    """The international text of a PNG that stands before its pixels, which are not read; none where
    the file is no PNG, or ends within its text."""
    texts: dict[str, str] = {}
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return texts
    while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
        length = int.from_bytes(head[:4], "big")
        if head[4:] != b"iTXt" or length > LONGEST_TEXT:
            file.seek(length + 4, os.SEEK_CUR)
        elif len(body := file.read(length + 4)) == length + 4 and (
            entry := _international(body[:-4])
        ):
            texts[entry[0]] = entry[1]
    return texts


def _international(body: bytes) -> tuple[str, str] | None:
    """Keyword and text of an iTXt chunk; None where it is broken."""
    keyword, _, rest = body.partition(b"\0")
    compressed, rest = rest[:1] == b"\1", rest[2:]
    parts = rest.split(b"\0", 2)  # the language, the keyword in it, and the text
    try:
        text = zlib.decompress(parts[2]) if compressed else parts[2]
        return keyword.decode("latin-1"), text.decode("utf-8")
    except (IndexError, zlib.error, UnicodeDecodeError):
        return None
