"""Frames as an animation, a .gif or .png (APNG) file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ldm_core.errors import LdmError
from ldm_core.media.names import check_new, write_whole
from ldm_core.values import brief

FORMATS = {".gif": "GIF", ".png": "PNG"}


def check_animation(animation: Path, *, overwrite: bool) -> None:
    """See that an animation can be written under a name.

    Raises:
        LdmError: its suffix is that of no animation, or the name is taken.
    """
    if animation.suffix.lower() not in FORMATS:
        raise LdmError(f"an animation is a file that ends in .gif or .png, not '{animation.name}'.")
    check_new(animation, overwrite=overwrite, name="animation")


def check_milliseconds(milliseconds: int, animation: Path | None) -> None:
    """See that a file of this kind can say how long it shows each frame.

    Raises:
        LdmError: both kinds count in 16 bits, GIF in hundredths of a second, PNG in thousandths.
    """
    if animation is None:
        return
    most = 655_350 if animation.suffix.lower() == ".gif" else 65_535
    if not 1 <= milliseconds <= most:
        raise LdmError(
            f"a {animation.suffix.lower()} shows a frame for 1 to {most:,} milliseconds, not "
            f"{brief(milliseconds)}."
        )


def write_animation(
    frames: Sequence[Image.Image], path: Path, milliseconds: int, *, overwrite: bool = False
) -> None:
    """Write a GIF, or a PNG that moves, that goes round for ever; whole or not at all.

    Raises:
        LdmError: the name is taken and is not to be overwritten, or the file cannot be written.
    """

    def write(fresh: Path) -> None:
        frames[0].save(
            fresh,
            format=FORMATS[path.suffix.lower()],
            save_all=True,
            append_images=list(frames[1:]),
            duration=milliseconds,
            loop=0,
        )

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, write, overwrite=overwrite)
    except OSError as error:
        reason = error.strerror or error
        raise LdmError(f"the animation '{path}' cannot be written: {reason}.") from None
