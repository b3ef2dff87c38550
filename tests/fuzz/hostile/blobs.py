"""The bytes of hostile files."""

from __future__ import annotations

import base64
import json
import pickle
import struct
import zlib
from typing import Any

PWNED = "pwned"
"""A file that appears where code of a hostile file ran."""
SECRET = "@here@/outside/secret"
"""Stands for what a hostile file reaches for outside its folder."""


def step(path: str, data: bytes) -> list[Any]:
    """The step that writes these bytes."""
    return ["bytes", path, base64.b64encode(data).decode()]


class _Runs:
    def __reduce__(self) -> Any:
        return exec, (f"open({PWNED!r}, 'w').close()",)


PICKLE = pickle.dumps({"weight": _Runs()})
CODE = f"open({PWNED!r}, 'w').close()\nclass Evil:\n    pass\n"
"""A module that a model folder might bring."""
EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 16 16
%%EndComments
(pwned) (w) file closefile
showpage
%%EOF
"""
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
WMF = (
    struct.pack("<LHhhhhHLH", 0x9AC6CDD7, 0, 0, 0, 16, 16, 1440, 0, 0) + b"\x01\x00\x09\x00\x00\x03"
)
PSD = b"8BPS" + struct.pack(">H6xHLLHH", 1, 3, 16, 16, 8, 3) + bytes(12)
FITS = b"SIMPLE  =                    T".ljust(80) + b"END".ljust(80)
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(64)
FLI = struct.pack("<LHHHHHHL", 128, 0xAF11, 1, 16, 16, 8, 0, 5) + bytes(112)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file (ISO/IEC 15948, 5.3)."""
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, pixels: bytes | None = None) -> bytes:
    """A PNG of one bit a pixel, with further chunks before its pixels.

    Args:
        pixels: compressed; those of the size where left out.
    """
    head = struct.pack(">LLBBBBB", width, height, 1, 0, 0, 0, 0)
    if pixels is None:
        pixels = zeros((1 + (width + 7) // 8) * height)
    parts = [chunk(b"IHDR", head), *more, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zeros(length: int, letter: bytes = b"\0") -> bytes:
    """Very many equal bytes, compressed, made piece by piece."""
    press, parts = zlib.compressobj(9), []
    for start in range(0, length, 2**22):
        parts.append(press.compress(letter * min(2**22, length - start)))
    return b"".join([*parts, press.flush()])


def itxt(keyword: bytes, compressed: bytes) -> bytes:
    return chunk(b"iTXt", keyword + b"\0\1\0\0\0" + compressed)


def ztxt(keyword: bytes, compressed: bytes) -> bytes:
    return chunk(b"zTXt", keyword + b"\0\0" + compressed)


def jpeg(width: int, height: int) -> bytes:
    """The head of a JPEG of this size, and no pixels."""
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


def gif(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x4c\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + frame + b";"


def bmp(width: int, height: int) -> bytes:
    info = struct.pack("<LllHHLLllLL", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<LHHL", 54, 0, 0, 54) + info


def tiff(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (278, height)]
    tags.append((279, 1))
    body = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<L", 8) + struct.pack("<H", len(tags)) + body + bytes(4)


def tensors(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
