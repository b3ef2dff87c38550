"""Pictures of a run on its way: in a file, in the terminal, one a step, and as an animation."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from ldm_core.arguments import checks_arguments
from ldm_core.contracts import (
    Medium,
    ModelInfo,
    Observer,
    Run,
    RunObserver,
    Step,
    as_observer,
    fits,
)
from ldm_core.contracts import sees_run as seeing
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.machine import refused
from ldm_core.media.moving import check_animation, check_milliseconds, write_animation
from ldm_core.media.names import write_whole
from ldm_core.media.preview_files import check_preview, replace_preview
from ldm_core.media.shown import shown
from ldm_core.media.strips import as_grid, one_size, picture_of
from ldm_core.media.terminal import in_terminal, protocol_of
from ldm_core.run.allowance import allowance
from ldm_core.run.linear_preview import LinearPreview, is_pictures

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.contracts.observer import Finished

By = Literal["linear", "decoder"]
SHARE = 9
"""So many times as long as a preview took, the run goes on without another."""
MOST_FRAMES = 600
"""Of an animation; of a longer way every second step is left out, and again."""
LARGEST = 1024
"""Pixels a side of what is shown, at most."""
HOLD = 1000
"""Milliseconds that an animation shows the end of a batch."""


@checks_arguments
def preview(
    *,
    file: Path | None = None,
    inline: bool = False,
    folder: Path | None = None,
    animation: Path | None = None,
    by: By | None = None,
    every: Annotated[float, Field(ge=0)] = 0.5,
    milliseconds: int = 100,
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
        _check_folder(showing.folder, overwrite)
    if animation is not None:
        showing.animation = expanded(animation).absolute()
        check_animation(showing.animation, overwrite=overwrite)
        check_milliseconds(milliseconds, showing.animation)
        if showing.animation == showing.file:
            raise LdmError(f"the preview and the animation have one name, '{animation}'.")

    @fits(showing.check)
    @seeing
    def previews(run: Run) -> Previews:
        return Previews(run, showing)

    return as_observer(previews)


def _check_folder(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise LdmError(f"the folder for the steps, '{folder}', is a file.")
    if not overwrite and folder.is_dir() and any(folder.glob("seed*-step-*.png")):
        raise LdmError(
            f"pictures of steps are in '{folder}' already, and are not overwritten.",
            "give another folder; or --overwrite, in Python overwrite=True, replaces them.",
        )


class Showing:
    """Where and how runs are shown, and what lasts from one to the next.

    Attributes:
        file, folder, animation, protocol: as of `preview`; None where that is not asked for.
    """

    def __init__(self, by: By | None, every: float, milliseconds: int, overwrite: bool) -> None:
        self.file: Path | None = None
        self.folder: Path | None = None
        self.animation: Path | None = None
        self.protocol: str | None = None
        self.frames: list[Image.Image] = []
        self._by = by
        self._every = every
        self._milliseconds = milliseconds
        self._overwrite = overwrite
        self._own: set[Path] = set()
        self._due = 0.0
        self._rows = 0
        self._fitted: tuple[Any, LinearPreview] | None = None

    def check(self, info: ModelInfo) -> None:
        """Raise `LdmError` for a model of which nothing can be shown so."""
        if self._by == "linear" and not is_pictures(info.latents):
            raise LdmError(
                f"a linear preview is for latents of pictures, and those of '{info.source}' are of "
                f"{', '.join(info.latents.names)}.",
                "--preview-by decoder, in Python by='decoder', decodes them.",
            )
        if info.image_channels not in (1, 3):
            raise LdmError(
                f"a preview shows pictures in grey or colour, and those of '{info.source}' have "
                f"{info.image_channels} channels."
            )

    @property
    def is_due(self) -> bool:
        """Whether a preview is to be drawn now."""
        places = self.file is not None or self.protocol is not None
        return places and time.monotonic() >= self._due

    def drew(self, since: float) -> None:
        """A preview is drawn, that was begun then."""
        now = time.monotonic()
        self._due = now + max(self._every, SHARE * (now - since))

    def picture(self, run: Run, x0: Tensor, by: By) -> Image.Image:
        """What the estimates of a batch show, as one picture."""
        with replace(allowance()).in_force():  # what it finds too much is not so for the run
            linear = self._linear(run, x0, by)
            medium = run.decode(x0) if linear is None else Medium("image", linear(x0))
        if medium.data.ndim == 5:
            medium = replace(medium, kind="video")
        entries = shown(replace(medium, data=medium.data.nan_to_num(0, 0, 0)), "pil")
        pictures = [picture_of(one) for one in entries]
        if linear is not None and medium.kind == "image":
            size = (run.request.width, run.request.height)
            pictures = [one.resize(size, Image.Resampling.BICUBIC) for one in pictures]
        return as_grid(pictures, LARGEST)

    def _linear(self, run: Run, x0: Tensor, by: By) -> LinearPreview | None:
        """The linear map, where pictures are to be drawn by it."""
        info = run.model.info
        if (self._by or by) == "decoder" or not is_pictures(info.latents):
            return None
        if self._fitted is None or self._fitted[0] is not info:
            self._fitted = info, LinearPreview.of(run)
        linear = self._fitted[1]
        quick = linear.seconds * x0[:, 0].numel() * SHARE <= self._every
        return None if self._by is None and quick else linear

    def show(self, picture: Image.Image, words: str) -> None:
        """Show a picture in the file and in the terminal."""
        if self.file is not None:
            replace_preview(picture, self.file)
        if self.protocol is not None:
            size = shutil.get_terminal_size()
            text, rows = in_terminal(picture, self.protocol, size.columns, size.lines)
            up = f"\x1b[{self._rows}A\r" if self._rows else ""
            sys.stderr.write(f"{up}{text}\x1b[K{words[: size.columns - 1]}\n")
            sys.stderr.flush()
            self._rows = rows + 1

    def leave(self) -> None:
        """Go on beneath what stands in the terminal."""
        self._rows = 0

    def keep(self, picture: Image.Image, seed: int, number: int) -> None:
        """Put the picture of a step into the folder and the animation."""
        if self.folder is not None:
            path = self.folder / f"seed{seed}-step-{number:03d}.png"

            def write(fresh: Path) -> None:
                picture.save(fresh, format="PNG")

            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_whole(path, write, overwrite=self._overwrite or path in self._own)
            except OSError as error:
                raise refused(f"'{path}' cannot be written", error) from None
            self._own.add(path)
        if self.animation is not None:
            self.frames.append(picture)
            if len(self.frames) > MOST_FRAMES:
                del self.frames[1:-1:2]

    def write_animation(self, last: Image.Image | None) -> None:
        """Write the way so far, and what was made at its end."""
        if self.animation is None or not self.frames:
            return
        held = max(1, HOLD // self._milliseconds)
        self.frames += [last or self.frames[-1]] * held
        again = self._overwrite or self.animation in self._own
        frames = one_size(self.frames)
        write_animation(frames, self.animation, self._milliseconds, overwrite=again)
        self._own.add(self.animation)


class Previews(RunObserver):
    """Shows one run."""

    def __init__(self, run: Run, showing: Showing) -> None:
        self._run = run
        self._showing = showing
        self._steps = len(run.grid) - 1
        self._kept = len(showing.frames)
        self._last = -1

    def step(self, step: Step) -> None:
        showing = self._showing
        if step.index == self._last:  # a scheduler that asks twice between two points
            return
        self._last = step.index
        if showing.folder is not None or showing.animation is not None:
            picture = showing.picture(self._run, step.x0, "decoder")
            showing.keep(picture, self._run.request.seeds[0], step.index + 1)
        if showing.is_due:
            since = time.monotonic()
            picture = showing.picture(self._run, step.x0, "linear")
            showing.show(picture, f"{self._which()}: step {step.index + 1} of {self._steps}")
            showing.drew(since)

    def finish(self, output: Finished) -> None:
        pictures = [picture_of(one) for one in output.images] if _is_shown(output.images) else []
        last = as_grid(pictures, LARGEST) if pictures else None
        if last is not None:
            self._showing.show(last, f"{self._which()}: made")
        self._showing.leave()
        self._showing.write_animation(last)

    def fail(self, error: BaseException) -> None:
        self._showing.leave()
        del self._showing.frames[self._kept :]  # a batch that is made again begins anew

    def _which(self) -> str:
        places, total = self._run.request.of_call, self._run.request.call_images
        first, last = places[0] + 1, places[-1] + 1
        return f"{first} of {total}" if first == last else f"{first}-{last} of {total}"


def _is_shown(images: Any) -> bool:
    """Whether an output holds what can be shown, and no numbers."""
    if isinstance(images, list):
        return bool(images)
    return isinstance(images, np.ndarray) and images.ndim == 3 and len(images) > 0  # sounds
