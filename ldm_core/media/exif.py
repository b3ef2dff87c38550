"""JPEG and WebP with a text inside, as the user's comment of EXIF.

The comment is ASCII, as EXIF 2.32 has it (table 9), and begins with a keyword: others write there
too. Files are walked through by their parts, without decoding a picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image

from ldm_core.errors import LdmError
from ldm_core.media.pictures import decoded
from ldm_core.media.png_chunks import LONGEST
from ldm_core.media.strict_pillow import strict_pillow

START = "ldm:"
"""How the comment begins that holds a manifest."""
ASCII = b"ASCII\0\0\0"
MARK = b"Exif\0\0"
MOST = 10_000
"""Parts of a file that are looked through."""
LONGEST_IN_JPEG = 65_000
"""Bytes of a text in a JPEG, whose parts have at most 65,533, with what surrounds it."""
ENCODED = "encoded_sha256"
"""What a manifest says of the file around it, where the pixels cannot be had again as they were."""
MODES = {"JPEG": ("L", "RGB"), "WEBP": ("L", "RGB", "RGBA")}
"""Of Pillow, that a format holds: grey, colours, and of WebP transparency too."""
QUALITY = 95
"""Of a JPEG, whose colours are kept in full resolution."""


def write_jpeg(image: Image.Image, manifest: Mapping[str, Any], path: Path) -> None:
    """Write a JPEG with its manifest, which also says the hash of the rest of the file; of one
    longer than `LONGEST_IN_JPEG` the file holds nothing.

    Raises:
        LdmError: the picture has transparency.
    """
    path.write_bytes(_jpeg(image, manifest))


def as_jpeg(image: Image.Image) -> Image.Image:
    """A picture as it comes out of the JPEG that `write_jpeg` makes of it."""
    return decoded(_encoded(image, "JPEG"), "JPEG")


def write_webp(image: Image.Image, manifest: Mapping[str, Any], path: Path) -> None:
    """Write a WebP without loss, with its manifest.

    Raises:
        LdmError: the picture is larger than a WebP can be, 16,383 pixels a side.
    """
    exif = exif_of(START + json.dumps(manifest))
    path.write_bytes(_encoded(image, "WEBP", exif=exif))


def _jpeg(image: Image.Image, manifest: Mapping[str, Any]) -> bytes:
    data = _encoded(image, "JPEG")
    if len(json.dumps(manifest)) > LONGEST_IN_JPEG:
        return data
    digest = hashlib.sha256(data).hexdigest()
    return _encoded(image, "JPEG", exif=exif_of(START + json.dumps({**manifest, ENCODED: digest})))


def _encoded(image: Image.Image, format: str, **more: Any) -> bytes:
    options: dict[str, Any] = {"quality": QUALITY, "subsampling": 0}
    if format == "WEBP":
        options = {"lossless": True, "exact": True}
    if image.mode not in MODES[format]:
        raise LdmError(
            f"a picture of Pillow's mode {image.mode} cannot be written as {format}, which holds "
            f"{' or '.join(MODES[format])} here.",
            "--format png takes it.",
        )
    stream = BytesIO()
    try:
        image.save(stream, format=format, **options, **more)
    except (ValueError, OSError) as error:
        if max(image.size) < 16_384:
            raise
        raise LdmError(
            f"a picture of {image.width}x{image.height} pixels cannot be written as {format}: "
            f"{error}.",
            "--format png takes larger ones.",
        ) from None
    return stream.getvalue()


def exif_of(text: str) -> bytes:
    """EXIF with a text as the user's comment."""
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.UserComment: ASCII + text.encode("ascii")}
    return exif.tobytes()


def comment_in(path: Path) -> str | None:
    """The text that a JPEG or WebP holds behind `START`; None where the file is another one, or has
    none.

    Raises:
        ValueError: what holds it is longer than `LONGEST`, cut off or broken, or there are several.
    """
    with path.open("rb") as file:
        several = {_comment(note) for note in _notes(file)} - {None}
    if len(several) > 1:
        raise ValueError(f"there are {len(several)} of them, which say different things")
    return next(iter(several), None)


def any_comment(path: Path) -> str | None:
    """The user's comment of a JPEG or WebP, whoever wrote it; None where there is none.

    Raises:
        ValueError: what holds it is cut off, broken, or longer than `LONGEST`.
    """
    with path.open("rb") as file:
        several = [_decoded(data) for note in _notes(file) if (data := _user_comment(note))]
    return next((text for text in several if text is not None), None)


def _decoded(data: bytes) -> str | None:
    """The letters of a comment behind its code (EXIF 2.32, table 9). Unicode there is UTF-16 of
    either order; where no mark says which, most letters have a zero before or behind them."""
    code, body = data[:8], data[8:]
    try:
        if code == b"UNICODE\0":
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


def _user_comment(note: bytes) -> bytes | None:
    """The user's comment in EXIF, its code before it."""
    try:
        with strict_pillow():
            exif = Image.Exif()
            exif.load(MARK + note)
            value: Any = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    except MemoryError:
        raise
    except Exception:  # the notes of a camera, which are parsed as freely as they are written
        return None
    if not isinstance(value, bytes | str):
        return None
    return value.encode("latin-1", "replace") if isinstance(value, str) else value


def _comment(note: bytes) -> str | None:
    """The text of ours in EXIF."""
    data = _user_comment(note)
    if data is None or not data.startswith(ASCII + START.encode()):
        return None
    try:
        return data[len(ASCII) + len(START) :].decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("its text is no ASCII") from None
