"""Texts in the EXIF of a JPEG or WebP: a manifest as the description of the picture, and what A1111
writes as the user's comment.

The description is ASCII, as EXIF 2.32 has it (table 4), and begins with a keyword: others write
there too. Earlier files have the manifest as the user's comment. Files are walked through by their
parts, without decoding a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image

from ldm_core.media.png_chunks import LONGEST
from ldm_core.media.strict_pillow import strict_pillow

START = "ldm:"
"""How the description, and in earlier files the comment, begins that holds a manifest."""
ASCII, UNICODE = b"ASCII\0\0\0", b"UNICODE\0"
"""The codes of a comment (EXIF 2.32, table 9)."""
MARK = b"Exif\0\0"
MOST = 10_000
"""Parts of a file that are looked through."""
ENCODED = "encoded_sha256"
"""What a manifest says of the file around it, where the pixels cannot be had again as they were."""


def exif_of(text: str, comment: str | None = None) -> bytes:
    """EXIF with a text of ASCII as the picture's description, and another one as the user's
    comment, as A1111 writes it: UTF-16, the high byte first."""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = text
    if comment is not None:
        said = UNICODE + comment.encode("utf-16-be", "replace")
        exif[ExifTags.IFD.Exif] = {ExifTags.Base.UserComment: said}
    return exif.tobytes()


def comment_in(path: Path) -> str | None:
    """The text that a JPEG or WebP holds behind `START`; None where the file is another one, or has
    none.

    Raises:
        ValueError: what holds it is longer than `LONGEST`, cut off or broken, or there are several.
    """
    with path.open("rb") as file:
        several = {_ours(text) for note in _notes(file) for text in _texts(note)} - {None}
    if len(several) > 1:
        raise ValueError(f"there are {len(several)} of them, which say different things")
    return next(iter(several), None)


def any_comment(path: Path) -> str | None:
    """The user's comment of a JPEG or WebP, whoever wrote it; None where there is none.

    Raises:
        ValueError: what holds it is cut off, broken, or longer than `LONGEST`.
    """
    with path.open("rb") as file:
        several = [_decoded(data) for note in _notes(file) if (data := _tags(note)[1])]
    return next((text for text in several if text is not None), None)


def _decoded(data: bytes) -> str | None:
    """The letters of a comment behind its code (EXIF 2.32, table 9). Unicode there is UTF-16 of
    either order; where no mark says which, most letters have a zero before or behind them."""
    code, body = data[:8], data[8:]
    try:
        if code == UNICODE:
            if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return body.decode("utf-16")
            little = body[1::2].count(0) > body[::2].count(0)
            return body.decode("utf-16-le" if little else "utf-16-be")
        if code in (ASCII, b"\0" * 8):
            return body.decode("utf-8").rstrip("\0")
    except UnicodeDecodeError:
        return None
    return None


def encoded_hash(data: bytes) -> str:
    """SHA-256 of a JPEG's bytes without its notes (EXIF, XMP and comments).

    Raises:
        ValueError: it is none.
    """
    file, kept = BytesIO(data), [data[:2]]
    for kind, start, length in _jpeg_parts(file):
        if kind not in (0xE1, 0xFE):
            kept.append(data[start : start + length])
    kept.append(data[file.tell() :])
    return hashlib.sha256(b"".join(kept)).hexdigest()


def is_lossy(path: Path) -> bool:
    """Whether a picture file is a JPEG, or a WebP of that kind: its pixels are not quite those that
    were stored."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF":
            return head[:3] == b"\xff\xd8\xff"
        return any(kind == b"VP8 " for kind, _, _ in _webp_parts(file))


def _notes(file: BinaryIO) -> Iterator[bytes]:
    """The EXIF in a file, each as a TIFF."""
    head = file.read(12)
    if head[:3] == b"\xff\xd8\xff":
        for kind, start, length in _jpeg_parts(file):
            if kind == 0xE1:
                file.seek(start + 4)
                body = file.read(length - 4)
                if body.startswith(MARK):
                    yield body[len(MARK) :]
    elif head[:4] == b"RIFF" and head[8:] == b"WEBP":
        for name, start, length in _webp_parts(file):
            if name == b"EXIF":
                if length > LONGEST:
                    raise ValueError(f"it has {length} bytes, and at most {LONGEST} are read")
                file.seek(start)
                body = file.read(length)
                if len(body) < length:
                    raise ValueError("it is cut off")
                yield body.removeprefix(MARK)


def _jpeg_parts(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Marker, start and length of each part of a JPEG before its pixels, where the file then is.

    Source: ITU-T T.81, annex B.
    """
    at = 2
    for _ in range(MOST):
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            raise ValueError("the file is damaged")
        if head[1] in (0xDA, 0xD9):  # pixels, or the end
            file.seek(at)
            return
        length = 2 + int.from_bytes(head[2:], "big")
        yield head[1], at, length
        at += max(length, 4)
    raise ValueError(f"the file has more than {MOST} parts")


def _webp_parts(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of each part of a WebP.

    Source: RFC 9649, section 2.3.
    """
    at = 12
    for _ in range(MOST):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[4:], "little")
        yield head[:4], at + 8, length
        at += 8 + length + (length & 1)
    raise ValueError(f"the file has more than {MOST} parts")


def _tags(note: bytes) -> tuple[bytes, bytes]:
    """In EXIF, the description of the picture and the user's comment, its code before it; empty
    where there is none."""
    try:
        with strict_pillow():
            exif = Image.Exif()
            exif.load(MARK + note)
            several: list[Any] = [
                exif.get(ExifTags.Base.ImageDescription),
                exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment),
            ]
    except MemoryError:
        raise
    except Exception:  # the notes of a camera, which are parsed as freely as they are written
        return b"", b""
    described, comment = (
        text.encode("latin-1", "replace") if isinstance(text, str) else text for text in several
    )
    return (
        described if isinstance(described, bytes) else b"",
        comment if isinstance(comment, bytes) else b"",
    )


def _texts(note: bytes) -> Iterator[bytes]:
    """The texts in EXIF that may be ours."""
    described, comment = _tags(note)
    yield described.rstrip(b"\0")
    if comment.startswith(ASCII):
        yield comment.removeprefix(ASCII)


def _ours(text: bytes) -> str | None:
    """What stands behind our keyword."""
    if not text.startswith(START.encode()):
        return None
    try:
        return text[len(START) :].decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("its text is no ASCII") from None
