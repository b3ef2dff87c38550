"""Pictures one after the other as an animation: a .gif, .png (APNG), .webp or .mp4 file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from ldm_core.contracts import Shown
from ldm_core.errors import LdmError
from ldm_core.media.names import check_new, write_whole
from ldm_core.values import brief

FORMATS = {".gif": "GIF", ".png": "PNG", ".webp": "WEBP"}
"""What Pillow calls them."""
VIDEO = ".mp4"
SUFFIXES = (*FORMATS, VIDEO)
MOST = {".gif": 655_350, ".png": 65_535}
"""Milliseconds that a frame can be shown: both count in 16 bits, GIF in hundredths of a second."""
LONGEST = 1_000_000


def check_animation(animation: Path, *, overwrite: bool) -> None:
    """See that an animation can be written under a name.

    Raises:
        LdmError: its suffix is that of no animation, the name is taken, or what writes it is not
            installed.
    """
    if animation.suffix.lower() not in SUFFIXES:
        raise LdmError(
            f"an animation is a file that ends in {', '.join(FORMATS)} or {VIDEO}, not "
            f"'{animation.name}'."
        )
    if animation.suffix.lower() == VIDEO and find_spec("av") is None:
        raise LdmError(
            "an animation as .mp4 needs the package av, which is not installed.",
            "pip install 'ldm-core[video]'; .gif, .png and .webp need nothing.",
        )
    check_new(animation, overwrite=overwrite, name="animation")


def check_milliseconds(milliseconds: int, animation: Path | None) -> None:
    """See that a file of this kind can say how long it shows each frame.

    Raises:
        LdmError: its numbers end before.
    """
    if animation is None:
        return
    most = MOST.get(animation.suffix.lower(), LONGEST)
    if not 1 <= milliseconds <= most:
        raise LdmError(
            f"a {animation.suffix.lower()} shows a frame for 1 to {most:,} milliseconds, not "
            f"{brief(milliseconds)}."
        )


def write_animation(
    frames: Sequence[Image.Image], path: Path, milliseconds: int, *, overwrite: bool = False
) -> None:
    """Write frames of one size as an animation that goes round for ever; whole or not at all.

    Raises:
        LdmError: the name is taken and is not to be overwritten, or the file cannot be written.
    """
    suffix = path.suffix.lower()

    def write(fresh: Path) -> None:
        if suffix == VIDEO:
            from ldm_core.media.video_writing import MP4, write_video

            write_video(Shown(list(frames), 1000 / milliseconds), {}, fresh, MP4)
            return
        more = {"lossless": True} if suffix == ".webp" else {}
        frames[0].save(
            fresh,
            format=FORMATS[suffix],
            save_all=True,
            append_images=list(frames[1:]),
            duration=milliseconds,
            loop=0,
            **more,
        )

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, write, overwrite=overwrite)
    except OSError as error:
        reason = error.strerror or error
        raise LdmError(f"the animation '{path}' cannot be written: {reason}.") from None
