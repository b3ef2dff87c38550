"""Contact sheets."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ldm_core.errors import LdmError
from ldm_core.media.letters import legible_labels
from ldm_core.media.names import check_new, write_whole

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Of the file of a sheet, by its suffix."""
LARGEST = {"WEBP": 16_383, "JPEG": 65_500}
"""Pixels a side at most, of formats that end somewhere; JPEG as libjpeg writes it."""
CELL = 192
"""Pixels a side that a picture has on a sheet."""
GAP, LINE = 12, 14
"""Pixels between pictures, and of a line of a caption."""


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


def check_fits(path: Path, size: tuple[int, int]) -> None:
    """See that the format of a sheet's suffix holds so many pixels, before there are any.

    Args:
        size: width and height that it has at least.
    Raises:
        LdmError: it does not.
    """
    form = FORMATS[path.suffix.lower()]
    most = LARGEST.get(form)
    if most is not None and max(size) > most:
        raise LdmError(
            f"the contact sheet '{path}' would have {size[0]}x{size[1]} pixels, and {form} ends at "
            f"{most:,} a side.",
            f"{path.with_suffix('.png').name} takes them, or make fewer pictures.",
        )


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


def sheet_size(count: int, captions: Sequence[str]) -> tuple[int, int]:
    """Width and height of the contact sheet of so many images.

    Args:
        captions: that there are, each once or as often as it stands there.
    """
    columns, height = _columns(count), _height([_lines(caption) for caption in captions])
    rows = math.ceil(count / columns)
    return columns * (CELL + GAP) + GAP, rows * (height + GAP) + GAP


def _columns(count: int) -> int:
    return min(count, math.ceil(math.sqrt(count * 1.5)))


def _lines(caption: str) -> list[str]:
    return textwrap.wrap(caption, width=30)[:3]


def _height(texts: Sequence[Sequence[str]]) -> int:
    """Of an image with its caption."""
    return CELL + LINE * max(map(len, texts), default=0) + GAP


def contact_sheet(images: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """All images on one white sheet, each with its caption; small ones are magnified. Of letters
    that its font lacks, it warns.

    Args:
        images: of any sizes.
        captions: one for each.
    """
    cell, gap = CELL, GAP
    captions = legible_labels(captions)
    texts = [_lines(caption) for caption in captions]
    columns, height = _columns(len(images)), _height(texts)
    sheet = Image.new("RGB", sheet_size(len(images), captions), "white")
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
