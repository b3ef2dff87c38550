"""Pictures of a run on its way: in a file, in the terminal, one a step, and as an animation."""

from __future__ import annotations

import glob
import os
import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ldm_core.arguments import checks_arguments
from ldm_core.contracts import Observer, Run, as_observer, fits, sees_reading
from ldm_core.contracts import sees_run as seeing
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.media.moving import check_animation, check_milliseconds
from ldm_core.media.preview_files import check_preview
from ldm_core.media.terminal import protocol_of
from ldm_core.run.bars import reading_bar
from ldm_core.run.showing import By, Named, Previews, Showing

EVERY = 0.5
"""Seconds between two previews, at least."""
MILLISECONDS = 100
"""That an animation shows a step."""


@checks_arguments
def preview(
    *,
    file: Path | None = None,
    inline: bool = False,
    folder: Path | None = None,
    animation: Path | None = None,
    by: By | None = None,
    every: Annotated[float, Field(ge=0)] = EVERY,
    milliseconds: int = MILLISECONDS,
    overwrite: bool = False,
) -> Observer:
    """An observer that shows the x0 estimates of a run on its way; the pictures of a batch stand
    side by side, of a video a strip of its frames, of a sound waveform and spectrogram. It changes
    nothing of what is made.

    Example::

        watched = pipe.replace(observers=[preview(file="now.png", animation="way.gif")])

    Args:
        file: a .png or .jpg file that is written anew while the run goes, whole each time, and in
            the end holds what was made. One that an earlier preview wrote is replaced.
        inline: draw in the terminal, at the standard error stream.
        folder: a picture of each step, as PNG: ``seed7-step-001.png``, by the first seed of the
            batch.
        animation: the whole way as a .gif, .png, .webp or .mp4 file, batch by batch, when each is
            made.
        by: ``linear`` maps latents to pixels by a linear function that is fitted to the model's
            decoder once, ``decoder`` decodes them. Where None, `file` and `inline` go by the
            former where latents are of pictures and decoding takes more than a tenth of the time
            between two previews, and all else by the decoder.
        every: seconds between two previews in `file` or `inline`, at least; where they take long,
            fewer, so that they take a tenth of the time.
        milliseconds: that the animation shows each step.
        overwrite: replace files of these names.
    Raises:
        LdmError: none of the places is given, or something has a name, or standard error is no
            terminal.
    """
    showing = showing_at(
        file=file, inline=inline, folder=folder, animation=animation, by=by, every=every,
        milliseconds=milliseconds, overwrite=overwrite,
    )  # fmt: skip
    return observer_of(showing)


def observer_of(showing: Showing, named: Named | None = None) -> Observer:
    """The observer that shows runs so.

    Args:
        named: the pictures that they make, as of `Previews`.
    """

    @fits(showing.check)
    @seeing
    def previews(run: Run) -> Previews:
        return Previews(run, showing, named)

    shown = sees_reading(reading_bar)(previews) if showing.protocol is not None else previews
    return as_observer(shown)


def showing_at(
    *,
    file: Path | None = None,
    inline: bool = False,
    folder: Path | None = None,
    animation: Path | None = None,
    by: By | None = None,
    every: float = EVERY,
    milliseconds: int = MILLISECONDS,
    overwrite: bool = False,
    each: bool = False,
) -> Showing:
    """Where and how runs are shown, seen to be possible.

    Args:
        file, inline, folder, animation, by, every, milliseconds, overwrite: as of `preview`.
        each: pictures are kept each by itself, under names of their own.
    Raises:
        LdmError: as of `preview`.
    """
    if file is None and folder is None and animation is None and not inline:
        raise LdmError("a preview needs a place: 'file', 'inline', 'folder' or 'animation'.")
    showing = Showing(by, every, milliseconds, overwrite)
    if file is not None:
        showing.file = expanded(file).absolute()
        check_preview(showing.file, overwrite=overwrite)
    if inline:
        if sys.stderr is None or not sys.stderr.isatty():
            raise LdmError(
                "a preview is drawn in a terminal, and the standard error stream is none.",
                "--preview FILE, in Python file=..., writes it into a file.",
            )
        showing.protocol = protocol_of(os.environ)
    if folder is not None:
        showing.folder = expanded(folder).absolute()
        _check_folder(showing.folder, overwrite, "*" if each else "seed*")
    if animation is not None:
        showing.animation = expanded(animation).absolute()
        check_animation(showing.animation, overwrite=overwrite or each)
        if each and not overwrite:
            _check_animations(showing.animation)
        check_milliseconds(milliseconds, showing.animation)
        if showing.animation == showing.file:
            raise LdmError(f"the preview and the animation have one name, '{animation}'.")
    return showing


def _check_folder(folder: Path, overwrite: bool, names: str) -> None:
    if folder.exists() and not folder.is_dir():
        raise LdmError(f"the folder for the steps, '{folder}', is a file.")
    if not overwrite and folder.is_dir() and any(folder.glob(f"{names}-step-*.png")):
        raise LdmError(
            f"pictures of steps are in '{folder}' already, and are not overwritten.",
            "give another folder; or --overwrite, in Python overwrite=True, replaces them.",
        )


def _check_animations(animation: Path) -> None:
    """See that there are no animations of single pictures yet."""
    for path in animation.parent.glob(f"{glob.escape(animation.stem)}-*{animation.suffix}"):
        raise LdmError(
            f"'{path}' is there already, and such animations are not overwritten.",
            "give another name; or --overwrite, in Python overwrite=True, replaces them.",
        )
