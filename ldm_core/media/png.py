"""PNG files with their manifest inside."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.media.json_text import json_text
from ldm_core.media.pictures import open_picture
from ldm_core.media.png_chunks import SIGNATURE, split_text

KEYWORD = "ldm"
"""The PNG text chunk that holds a manifest."""


def save_png(image: Image.Image, manifest: Mapping[str, Any], path: Path) -> None:
    """Write a PNG with its manifest; whole or not at all, so an interrupt leaves no broken file."""
    info = PngInfo()
    info.add_itxt(KEYWORD, json_text(manifest))
    partial = path.with_name(f".{path.name}.part")
    try:
        image.save(partial, format="PNG", pnginfo=info)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_png(path: Path) -> tuple[Image.Image, dict[str, Any]]:
    """An image and its manifest, however long that is.

    Raises:
        LdmError: no such file, no image, or an image without a manifest.
    """
    image = open_picture(path)
    data = expanded(path).read_bytes()
    text = split_text(data)[1].get(KEYWORD) if data.startswith(SIGNATURE) else None
    try:
        manifest = json.loads(text) if text is not None else None
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise LdmError(
            f"{path} has no manifest inside, so it is not known how it was made.",
            "`ldm generate` writes one into every picture; some editors drop it on saving.",
        )
    return image, manifest
