"""A file that is written anew, again and again, while a run goes, and is whole each time."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from PIL import Image, PngImagePlugin

from ldm_core.errors import LdmError
from ldm_core.machine import refused
from ldm_core.media.names import check_new
from ldm_core.media.partial import partial

SUFFIXES = (".png", ".jpg", ".jpeg")
MARK = "ldm preview"
"""Stands near the beginning of such a file, so that another run may take its place."""


def check_preview(path: Path, *, overwrite: bool = False) -> None:
    """See that a preview can be written under a name.

    Raises:
        LdmError: its suffix is of no format that is written, or the name is that of something that
            is no preview, unless it is to be overwritten.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise LdmError(
            f"a preview is a file that ends in .png or .jpg, not '{path.name}'; 'inline' draws it "
            "in the terminal."
        )
    check_new(path, overwrite=overwrite or is_preview(path), name="preview")


def is_preview(path: Path) -> bool:
    """Whether a plain file is one that `replace_preview` wrote."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            return MARK.encode() in file.read(256)
    except (OSError, ValueError):
        return False


def replace_preview(picture: Image.Image, path: Path) -> None:
    """Write a preview in the place of the one before.

    Raises:
        MachineError: the machine refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial(path.parent) as fresh:
            if path.suffix.lower() == ".png":
                note = PngImagePlugin.PngInfo()
                note.add_text("Comment", MARK)
                picture.save(fresh, format="PNG", pnginfo=note, compress_level=1)
            else:
                picture.convert("RGB").save(fresh, format="JPEG", quality=90, comment=MARK)
            os.replace(fresh, path)
    except OSError as error:
        raise refused(f"the preview '{path}' cannot be written", error) from None
