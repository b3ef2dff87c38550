"""PNG files with their manifest inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ldm_core.contracts.files import expanded
from ldm_core.media.a1111_text import KEYWORD as PARAMETERS
from ldm_core.media.json_text import json_text
from ldm_core.media.names import write_whole
from ldm_core.media.parameters import parameters_of
from ldm_core.media.picture_manifests import read_picture
from ldm_core.media.png_chunks import KEYWORD


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
    """Write a PNG with its manifest, and the text that others read, into a file that is there for
    it, such as a writer gets."""
    info = PngInfo()
    info.add_itxt(KEYWORD, json_text(manifest))
    if (text := parameters_of(manifest)) is not None:
        info.add_itxt(PARAMETERS, text.encode("utf-8", "replace").decode("utf-8"))
    image.save(path, format="PNG", pnginfo=info)


def read_png(path: Path) -> tuple[Image.Image, dict[str, Any]]:
    """An image and its manifest: see `read_picture`, which takes other formats too."""
    return read_picture(path)
