"""The forms of picture files: what a file is by its first bytes, whether all of it is there, and
what is in it that a decoder would take on trust.

These functions read bytes and decode nothing. What they refuse they refuse by `Unreadable`, with a
reason that completes "it cannot be read: …".
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

FORMATS = ("PNG", "JPEG", "WebP", "GIF", "TIFF", "BMP")
"""Those that are read."""
MOST_PIXELS = 1 << 26
"""Of a picture: 8192x8192, a quarter of a gibibyte as Pillow keeps it, in four bytes each."""
MOST_PARTS = 1 << 18
"""Chunks of a PNG, blocks of a GIF's first frame, strips of a TIFF."""
MOST_SCANS = 64
"""Of a progressive JPEG, each of which costs as much as a whole picture; cameras write about 10."""
MOST_RUN_LENGTH = 1 << 21
"""Pixels of a BMP in run-length encoding, which is decoded in Python."""
CUT_OFF = "the file is cut off"


class Unreadable(ValueError):
    """Why a file cannot be read."""


@dataclass(frozen=True)
class Form:
    """What a file is.

    Attributes:
        format: one of `FORMATS`, in capitals, as Pillow names it.
        data: the file, without what is no part of the picture where a decoder would trip over it.
        several: whether there are more frames or pages than the first.
    """

    format: str
    data: bytes
    several: bool = False


def form_of(data: bytes) -> Form:
    """The form of a file's bytes, checked as far as that goes without decoding.

    Raises:
        Unreadable: it is of none that is read, or damaged, cut off, or too large.
    """
    for begins, check in CHECKS:
        if begins.match(data):
            return check(data)
    if not data:
        raise Unreadable("the file is empty")
    several = ", ".join(FORMATS[:-1])
    raise Unreadable(
        f"it is no picture in {several} or {FORMATS[-1]}, which are the formats that are read"
    )


def check_size(width: int, height: int) -> None:
    """Raise `Unreadable` for a picture without pixels, or with too many."""
    if width < 1 or height < 1:
        raise Unreadable(f"it has {width}x{height} pixels")
    if width * height > MOST_PIXELS:
        raise Unreadable(
            f"it has {width}x{height} pixels, and {MOST_PIXELS:,} are the most that are read, so "
            "that no file fills the memory; scale it down by another program"
        )


TOLD = (b"XML:com.adobe.xmp\0", b"Raw profile type ")
"""How text in a PNG begins that may say which way is up."""
LONGEST_NOTE = 1 << 16


def _png(data: bytes) -> Form:
    """ISO/IEC 15948, Section 5.3: the chunks that make the picture, their checksums compared.

    Of the others those are kept that say which way is up.
    """
    kept, several = [data[:8]], False
    for number, (kind, start, end) in enumerate(_chunks(data)):
        body = data[start + 8 : end - 4]
        if (number == 0) != (kind == b"IHDR") or (kind == b"IHDR" and len(body) != 13):
            raise Unreadable("the file is damaged: a PNG begins with one header")
        if kind == b"IHDR":
            check_size(int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big"))
        several |= kind == b"acTL" and int.from_bytes(body[:4], "big") > 1
        note = kind == b"eXIf" or (kind in (b"iTXt", b"zTXt", b"tEXt") and body.startswith(TOLD))
        if kind[:1].isupper() or kind == b"tRNS" or (note and len(body) <= LONGEST_NOTE):
            if zlib.crc32(data[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big"):
                kept.append(data[start:end])
            elif not note:
                raise Unreadable("the file is damaged: a checksum is wrong")
    return Form("PNG", b"".join(kept), several)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk of a PNG, up to its last."""
    start, kind = 8, b""
    for _ in range(MOST_PARTS):
        if kind == b"IEND":
            return
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        kind = data[start + 4 : start + 8]
        if len(kind) == 4 and not kind.isalpha():
            raise Unreadable("the file is damaged: a chunk has no name")
        if end > len(data):
            raise Unreadable(CUT_OFF)
        yield kind, start, end
        start = end
    raise Unreadable(f"it has more than {MOST_PARTS:,} chunks")


MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd8])")
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers that tell the size (ITU-T T.81, table B.1)."""


def _jpeg(data: bytes) -> Form:
    """ITU-T T.81, annex B: markers up to the end of the image."""
    at, scans = 2, 0
    while marker := MARKER.search(data, at):
        kind, at = marker[1][0], marker.end()
        if kind == 0xD9:
            return Form("JPEG", data)
        length = int.from_bytes(data[at : at + 2], "big")
        if at + length > len(data):
            break
        if kind in FRAMES:
            sides = data[at + 3 : at + 7]
            check_size(int.from_bytes(sides[2:], "big"), int.from_bytes(sides[:2], "big"))
        scans += kind == 0xDA
        if scans > MOST_SCANS:
            raise Unreadable(f"it is stored in more than {MOST_SCANS} scans")
        at += max(length, 2)
    raise Unreadable(CUT_OFF)


def _webp(data: bytes) -> Form:
    """RFC 9649, Sections 2.3 to 2.7: the size, and whether the container is whole."""
    if 8 + int.from_bytes(data[4:8], "little") > len(data) or len(data) < 30:
        raise Unreadable(CUT_OFF)
    kind, body = data[12:16], data[20:30]
    several = False
    if kind == b"VP8X":
        width, height = (int.from_bytes(body[i : i + 3], "little") + 1 for i in (4, 7))
        several = bool(body[0] & 2)
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(body[i : i + 2], "little") & 0x3FFF for i in (6, 8))
    check_size(width, height)
    return Form("WEBP", data, several)


def _gif(data: bytes) -> Form:
    """GIF89a, Sections 17 to 23: the blocks of the first frame, and whether another follows."""
    check_size(*(int.from_bytes(data[i : i + 2], "little") for i in (6, 8)))
    at, frames = 13 + _table(data, 10), 0
    for _ in range(MOST_PARTS):
        kind = data[at : at + 1]
        if kind in (b"", b";") and frames:
            return Form("GIF", data)
        if kind == b",":
            if frames:
                return Form("GIF", data, True)
            left, top, width, height = (
                int.from_bytes(data[at + i : at + i + 2], "little") for i in (1, 3, 5, 7)
            )
            check_size(left + width, top + height)
            frames, at = 1, _blocks_end(data, at + 11 + _table(data, at + 9))
        elif kind == b"!":
            at = _blocks_end(data, at + 2)
        elif kind and frames:  # what is behind the first frame is not read
            return Form("GIF", data)
        else:
            raise Unreadable("the file is damaged: it has no picture" if kind else CUT_OFF)
    raise Unreadable(f"it has more than {MOST_PARTS:,} blocks before its second picture")


def _table(data: bytes, at: int) -> int:
    """Bytes of the colour table that these flags announce."""
    flags = data[at] if at < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _blocks_end(data: bytes, at: int) -> int:
    """Where a row of sub-blocks ends."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    if at >= len(data):
        raise Unreadable(CUT_OFF)
    return at + 1


OF_BYTES = frozenset({1, 2, 6, 7})
"""Types of a TIFF's entries that are read as one string."""
WIDTH, HEIGHT = 256, 257
LENGTHS = {1: 1, 3: 2, 4: 4}
"""Bytes of a number in a TIFF, by its type; of others, those of an offset."""
INNER = frozenset({34665, 34853, 40965})
"""Entries that point to a directory that Pillow reads too: EXIF, GPS, interoperability."""


def _tiff(data: bytes) -> Form:
    """TIFF 6.0, Section 2, and BigTIFF: the first directory, whose counts are within reason."""
    big = 43 in data[2:4]

    def number(at: int, size: int) -> int:
        if at + size > len(data):
            raise Unreadable(CUT_OFF)
        return int.from_bytes(data[at : at + size], "little" if data[:1] == b"I" else "big")

    size, head, entry = (8, 8, 20) if big else (4, 2, 12)
    first = number(8 if big else 4, size)
    places, several, seen = [first], False, set[int]()
    sides = {WIDTH: 1, HEIGHT: 1}
    while places:
        place = places.pop()
        if place in seen or (place != first and place + head > len(data)):
            continue
        seen.add(place)
        count = number(place, head)
        if count > 4096:
            raise Unreadable("the file is damaged: its directory has no end")
        for at in range(place + head, place + head + count * entry, entry):
            if place != first and at + entry > len(data):
                break
            length = number(at + 4, size)
            if length > MOST_PARTS and number(at + 2, 2) not in OF_BYTES:
                raise Unreadable(f"it is stored in more than {MOST_PARTS:,} parts")
            tag, value = number(at, 2), at + entry - size
            if tag in INNER:
                places.append(number(value, size))
            if place == first and tag in sides:
                sides[tag] = number(value, LENGTHS.get(number(at + 2, 2), size))
        if place == first:
            end = place + head + count * entry
            several = end + size <= len(data) and number(end, size) != 0
            check_size(sides[WIDTH], sides[HEIGHT])
    return Form("TIFF", data, several)


def _bmp(data: bytes) -> Form:
    """The header of a Windows bitmap: its size, and run lengths only of small pictures."""
    header = int.from_bytes(data[14:18], "little")
    if header == 12:
        sides = [int.from_bytes(data[i : i + 2], "little") for i in (18, 20)]
    else:
        sides = [abs(int.from_bytes(data[i : i + 4], "little", signed=True)) for i in (18, 22)]
    check_size(*sides)
    run_length = header != 12 and int.from_bytes(data[30:34], "little") in (1, 2)
    if run_length and max(sides[0] * sides[1], len(data) // 4) > MOST_RUN_LENGTH:
        raise Unreadable(
            f"it is run-length encoded, which is read up to {MOST_RUN_LENGTH:,} pixels; save it as "
            "PNG"
        )
    return Form("BMP", data)


CHECKS: tuple[tuple[re.Pattern[bytes], Callable[[bytes], Form]], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    (re.compile(rb"BM"), _bmp),
)
