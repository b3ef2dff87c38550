"""Pictures with their manifests, inside the file or beside it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from PIL import Image

from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.media.comments import tagged
from ldm_core.media.exif import comment_in
from ldm_core.media.json_text import read_json_text
from ldm_core.media.pictures import open_picture
from ldm_core.media.png_chunks import KEYWORD, LONGEST, text_under

BESIDE = ".json"
"""What the file with a manifest has behind the name of the file that it belongs to."""


def read_picture(path: Path) -> tuple[Image.Image, dict[str, Any]]:
    """An image and its manifest, of up to 4 MiB, which is inside a PNG, JPEG or WebP, or beside it.

    Raises:
        LdmError: no such file, no image, or an image without a manifest, or with one that is
            broken: see `manifest_text` and `read_json_text`.
    """
    image = open_picture(path)
    return image, read_manifest(path)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a picture, video or sound, inside or beside it; errors as of
    `read_picture`."""
    try:
        text = manifest_text(expanded(path))
        manifest = None if text is None else read_json_text(text)
    except ValueError as error:
        raise LdmError(f"the manifest in '{path}' is damaged: {error}.") from None
    if text is None:
        raise LdmError(
            f"{path} has no manifest inside, so it is not known how it was made.",
            "`ldm generate` writes one into every file; some editors drop it on saving.",
        )
    if not isinstance(manifest, dict):
        raise LdmError(f"the manifest in '{path}' is damaged: it is no table.")
    return manifest


def read_beside(path: Path) -> dict[str, Any]:
    """The manifest in a file of its own.

    Raises:
        LdmError: there is none, or it is broken.
    """
    try:
        text = _beside(expanded(path))
        manifest = None if text is None else read_json_text(text)
    except (OSError, ValueError) as error:
        raise LdmError(f"the manifest {path} is damaged: {error}.") from None
    if not isinstance(manifest, dict):
        raise LdmError(f"there is no manifest in {path}.")
    return manifest


def manifest_text(path: Path) -> str | None:
    """The manifest of a picture, video or sound; None where there is none.

    Raises:
        OSError: the file is not there, or cannot be read.
        LdmError: what reads a video or sound is not installed.
        ValueError: it is broken, or longer than `LONGEST`.
    """
    text = text_under(path, KEYWORD)
    if text is None:
        text = comment_in(path)
    if text is None:
        text = tagged(path)
    return _beside(path.with_name(f"{path.name}{BESIDE}")) if text is None else text


def manifest_in(path: Path) -> dict[str, Any] | None:
    """The manifest of a file, as far as there is one that can be read."""
    try:
        table = json.loads(manifest_text(path) or "null")
    except (OSError, ValueError, RecursionError, LdmError):
        return None
    return table if isinstance(table, dict) else None


def _beside(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        return None
    with path.open("rb") as file:
        data = file.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise ValueError(f"it has more than {LONGEST} bytes, and no more are read")
    return data.decode("utf-8")
