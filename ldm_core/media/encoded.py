"""JPEG and WebP with a manifest inside, and the text that A1111 and others read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from ldm_core.errors import LdmError
from ldm_core.media.exif import ENCODED, START, exif_of
from ldm_core.media.parameters import parameters_of
from ldm_core.media.pictures import decoded
from ldm_core.media.png_chunks import LONGEST

LONGEST_IN_JPEG = 65_000
"""Bytes of a manifest in a JPEG, with what surrounds it in one of its parts."""
LONGEST_PART = 65_533
"""Bytes of a part of a JPEG."""
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
    path.write_bytes(_encoded(image, "WEBP", exif=_exif(manifest, LONGEST)))


def _jpeg(image: Image.Image, manifest: Mapping[str, Any]) -> bytes:
    data = _encoded(image, "JPEG")
    if len(json.dumps(manifest)) > LONGEST_IN_JPEG:
        return data
    digest = hashlib.sha256(data).hexdigest()
    exif = _exif({**manifest, ENCODED: digest}, LONGEST_PART)
    return _encoded(image, "JPEG", exif=exif)


def _exif(manifest: Mapping[str, Any], most: int) -> bytes:
    """EXIF of at most so many bytes with a manifest, and the text that others read where both have
    room."""
    text, comment = START + json.dumps(manifest), parameters_of(manifest)
    both = exif_of(text, comment)
    return both if len(both) <= most else exif_of(text)


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
