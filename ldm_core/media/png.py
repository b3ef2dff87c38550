"""PNG files with their manifest inside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.media.json_text import json_text, read_json_text
from ldm_core.media.pictures import open_picture
from ldm_core.media.png_chunks import text_under

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
    """An image and its manifest, of up to 4 MiB.

    Raises:
        LdmError: no such file, no image, or an image without a manifest, or with one that is
            broken: see `text_under` and `read_json_text`.
    """
    image = open_picture(path)
    try:
        text = text_under(expanded(path), KEYWORD)
        manifest = None if text is None else read_json_text(text)
    except ValueError as error:
        raise LdmError(f"the manifest is damaged: {error}.") from None
    if text is None:
        raise LdmError(
            f"{path} has no manifest inside, so it is not known how it was made.",
            "`ldm generate` writes one into every picture; some editors drop it on saving.",
        )
    if not isinstance(manifest, dict):
        raise LdmError("the manifest is damaged: it is no table.")
    return image, manifest
