"""Contact sheets."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ldm_core.errors import LdmError
from ldm_core.media.names import check_new, write_whole

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Of the file of a sheet, by its suffix."""
CELL = 192
"""Pixels a side that a picture has on a sheet."""


def check_sheet(path: Path, *, overwrite: bool = False) -> None:
    """Raise `LdmError` for a name that does not say which format a sheet is to have, or that
    something has, unless it is to be overwritten."""
    if path.suffix.lower() not in FORMATS:
        several = [*FORMATS]
        raise LdmError(
            f"a contact sheet is a file that ends in {', '.join(several[:-1])} or {several[-1]}, "
            f"not '{path.name}'."
        )
    check_new(path, overwrite=overwrite, name="contact sheet")


def save_sheet(sheet: Image.Image, path: Path, *, overwrite: bool = False) -> None:
    """Write a sheet in the format of its suffix, whole or not at all.

    Raises:
        LdmError: the format holds no picture of this size, or as of `write_whole`.
    """

    def write(fresh: Path) -> None:
        sheet.save(fresh, format=FORMATS[path.suffix.lower()], quality=95)

    check_sheet(path, overwrite=True)
    try:
        write_whole(path, write, overwrite=overwrite)
    except LdmError:
        raise
    except ValueError as error:  # WebP ends at 16,383 pixels a side, JPEG at 65,535
        raise LdmError(
            f"a contact sheet of {sheet.width}x{sheet.height} cannot be written to '{path}': "
            f"{error}.",
            "the pictures are there; a sheet whose name ends in .png takes more of them.",
        ) from None


def contact_sheet(images: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """All images on one white sheet, each with its caption; small ones are magnified.

    Args:
        images: of any sizes.
        captions: one for each.
    """
    cell, gap, line = CELL, 12, 14
    columns = min(len(images), math.ceil(math.sqrt(len(images) * 1.5)))
    rows = math.ceil(len(images) / columns)
    texts = [textwrap.wrap(caption, width=30)[:3] for caption in captions]
    height = cell + line * max(len(text) for text in texts) + gap
    sheet = Image.new("RGB", (columns * (cell + gap) + gap, rows * (height + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (image, text) in enumerate(zip(images, texts, strict=True)):
        row, column = divmod(i, columns)
        left, top = gap + column * (cell + gap), gap + row * (height + gap)
        scale = cell / max(image.size)
        fitted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
        sheet.paste(image.resize(fitted, method), (left, top))
        draw.text((left, top + cell + 2), "\n".join(text), fill="black")
    return sheet
