"""Where and how runs are shown on their way, and what lasts from one to the next."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from ldm_core.contracts import Medium, ModelInfo, Run, RunObserver, Step
from ldm_core.errors import LdmError
from ldm_core.machine import refused
from ldm_core.media.moving import write_animation
from ldm_core.media.names import write_whole
from ldm_core.media.preview_files import replace_preview
from ldm_core.media.shown import shown
from ldm_core.media.strips import as_grid, one_size, picture_of
from ldm_core.media.terminal import cell_size, in_terminal
from ldm_core.run.allowance import allowance
from ldm_core.run.linear_preview import LinearPreview, is_pictures

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.contracts.observer import Finished

By = Literal["linear", "decoder"]
Named = Sequence[tuple[int, str]]
"""Pictures that are to come: the seed of each, and what its file is called."""
SHARE = 9
"""So many times as long as a preview took, the run goes on without another."""
MOST_FRAMES = 600
"""Of an animation; of a longer way every second step is left out, and again."""
LARGEST = 1024
"""Pixels a side of what is shown, at most."""
HOLD = 1000
"""Milliseconds that an animation shows the end of a batch."""


class Showing:
    """Where and how runs are shown.

    Attributes:
        file, folder, animation, protocol: as of `ldm_core.run.preview.preview`; None where that is
            not asked for.
        frames: of the animation, of what is made already.
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
        self._names: set[str] = set()
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

    def take(self, seeds: Sequence[int], named: Named | None) -> list[str]:
        """Names of what is kept of a run: one for all of its pictures, by the first seed, or where
        they have names of their own one for each. A name that an earlier run has gets a number.

        Args:
            named: as of `Previews`.
        """
        if named is None:
            return [self._free(f"seed{seeds[0]}")]
        names = []
        for seed in seeds:
            own = [name for other, name in named if other == seed] or [f"seed{seed}"]
            left = [name for name in own if name not in self._names]
            names.append(self._free((left or own)[0]))
        return names

    def _free(self, name: str) -> str:
        free, count = name, 1
        while free in self._names:
            count += 1
            free = f"{name}-{count}"
        self._names.add(free)
        return free

    def give_back(self, names: Sequence[str]) -> None:
        """Let a run that is made again have the names of one that failed."""
        self._names.difference_update(names)

    def pictures(self, run: Run, x0: Tensor, by: By) -> list[Image.Image]:
        """What the estimates of a batch show, a picture each."""
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
        return pictures

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
            cell = cell_size(sys.stderr)
            text, rows = in_terminal(picture, self.protocol, size.columns, size.lines, cell)
            up = f"\x1b[{self._rows}A\r" if self._rows else ""
            sys.stderr.write(f"{up}{text}\x1b[K{words[: size.columns - 1]}\n")
            sys.stderr.flush()
            self._rows = rows + 1

    def leave(self) -> None:
        """Go on beneath what stands in the terminal."""
        self._rows = 0

    def keep(self, picture: Image.Image, name: str, number: int) -> None:
        """Put the picture of a step into the folder."""
        if self.folder is None:
            return
        path = self.folder / f"{name}-step-{number:03d}.png"

        def write(fresh: Path) -> None:
            picture.save(fresh, format="PNG")

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, write, overwrite=self._overwrite or path in self._own)
        except OSError as error:
            raise refused(f"'{path}' cannot be written", error) from None
        self._own.add(path)

    def animate(self, frames: list[Image.Image], last: Image.Image | None, name: str = "") -> None:
        """Write the way of a run, which goes on from those before unless it has a file of its own.

        Args:
            last: what was made at its end.
            name: of the run, for a file of its own.
        """
        if self.animation is None or not frames:
            return
        path, held = self.animation, max(1, HOLD // self._milliseconds)
        whole = [*frames, *[last or frames[-1]] * held]
        if name:
            path = path.with_name(f"{path.stem}-{name}{path.suffix}")
        else:
            self.frames += whole
            thin(self.frames)
            whole = self.frames
        again = self._overwrite or path in self._own
        write_animation(one_size(whole), path, self._milliseconds, overwrite=again)
        self._own.add(path)


def thin(frames: list[Image.Image]) -> None:
    """Leave every second frame out of such as are too many."""
    while len(frames) > MOST_FRAMES:
        del frames[1:-1:2]


class Previews(RunObserver):
    """Shows one run.

    Args:
        named: the pictures of a batch, each of which is kept by itself under its name; where None,
            those of the run stand side by side.
    """

    def __init__(self, run: Run, showing: Showing, named: Named | None = None) -> None:
        self._run = run
        self._showing = showing
        self._steps = len(run.grid) - 1
        self._each = named is not None
        self._names = showing.take(run.request.seeds, named)
        self._frames: list[list[Image.Image]] = [[] for _ in self._names]
        self._last = -1

    def step(self, step: Step) -> None:
        showing = self._showing
        if step.index == self._last:  # a scheduler that asks twice between two points
            return
        self._last = step.index
        if showing.folder is not None or showing.animation is not None:
            pictures = self._parts(showing.pictures(self._run, step.x0, "decoder"))
            for name, frames, picture in zip(self._names, self._frames, pictures, strict=True):
                showing.keep(picture, name, step.index + 1)
                if showing.animation is not None:
                    frames.append(picture)
                    thin(frames)
        if showing.is_due:
            since = time.monotonic()
            picture = as_grid(showing.pictures(self._run, step.x0, "linear"), LARGEST)
            showing.show(picture, f"{self._which()}: step {step.index + 1} of {self._steps}")
            showing.drew(since)

    def finish(self, output: Finished) -> None:
        images = output.images if _is_shown(output.images) else []
        made = [picture_of(one) for one in images]
        if made:
            self._showing.show(as_grid(made, LARGEST), f"{self._which()}: made")
        self._showing.leave()
        if not self._each:
            last = as_grid(made, LARGEST) if made else None
            self._showing.animate(self._frames[0], last)
            return
        by_place = dict(zip(output.indices, made, strict=False))
        for place, (name, frames) in enumerate(zip(self._names, self._frames, strict=True)):
            one = by_place.get(place)
            self._showing.animate(frames, None if one is None else as_grid([one], LARGEST), name)

    def fail(self, error: BaseException) -> None:
        self._showing.leave()
        self._showing.give_back(self._names)  # a batch that is made again begins anew

    def _parts(self, pictures: list[Image.Image]) -> list[Image.Image]:
        """What is kept of a step: a picture each, or all of them side by side."""
        several = [[one] for one in pictures] if self._each else [pictures]
        return [as_grid(one, LARGEST) for one in several]

    def _which(self) -> str:
        if self._each:
            return self._names[0] + (f" to {self._names[-1]}" if len(self._names) > 1 else "")
        places, total = self._run.request.of_call, self._run.request.call_images
        first, last = places[0] + 1, places[-1] + 1
        return f"{first} of {total}" if first == last else f"{first}-{last} of {total}"


def _is_shown(images: Any) -> bool:
    """Whether an output holds what can be shown, and no numbers."""
    if isinstance(images, list):
        return bool(images)
    return isinstance(images, np.ndarray) and images.ndim == 3 and len(images) > 0  # sounds
