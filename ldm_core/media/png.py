"""PNG files with their manifest inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.media.json_text import json_text, read_json_text
from ldm_core.media.names import write_whole
from ldm_core.media.pictures import open_picture
from ldm_core.media.png_chunks import text_under

KEYWORD = "ldm"
"""The PNG text chunk that holds a manifest."""


def save_png(
    image: Image.Image, manifest: Mapping[str, Any], path: Path, *, overwrite: bool = False
) -> None:
    """Write a PNG with its manifest; whole or not at all, so an interrupt leaves no broken file.

    Args:
        overwrite: replace a file of that name.
    Raises:
        LdmError: the name is taken, and is not to be overwritten.
    """
    write_whole(
        expanded(path), lambda fresh: write_png(image, manifest, fresh), overwrite=overwrite
    )


def write_png(image: Image.Image, manifest: Mapping[str, Any], path: Path) -> None:
    """Write a PNG with its manifest into a file that is there for it, such as a writer gets."""
    info = PngInfo()
    info.add_itxt(KEYWORD, json_text(manifest))
    image.save(path, format="PNG", pnginfo=info)


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
