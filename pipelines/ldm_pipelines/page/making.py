"""The one run that the page has under way: made step by step, stopped between two steps."""

from __future__ import annotations

import gc
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from ldm_core.composition.compose import OF_WEIGHTS, compose
from ldm_core.composition.recipe import Layer
from ldm_core.contracts import Step
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.jobs.making import arguments_of, plan_of
from ldm_core.media.json_text import json_text
from ldm_core.media.pixels import from_pixels
from ldm_core.model.hub_permission import HubPermission, hub_permission
from ldm_core.plugins.registry import Registry
from ldm_core.run.pipeline import Pipeline
from ldm_pipelines.page.filled import Asked
from ldm_pipelines.page.folders import Folders
from ldm_pipelines.page.saving import Saved, save

KEPT_WITH = (*OF_WEIGHTS, "tf32", "loras", "converters")
"""Keys of a recipe with which weights are read; all others change a pipeline on the same ones."""
SHARE = 5
"""A preview is made at most so often that it costs one part in so many of the time."""
PATIENCE = 1.0
"""Seconds after which it is said that a run waits for another."""
SIDE = 512
"""Pixels of a preview's longer side at most."""


@dataclass(frozen=True)
class Seen:
    """What a person sees of a run.

    Attributes:
        step: of ``steps``, from 1; 0 before the first.
        preview: what the estimate of the step shows, where one was made.
        saved: the files, at the end.
        what: a step is, in a word.
        notes: what is to be said at the end.
        stopped: by the person, so that nothing was saved.
        waiting: for another run to end.
    """

    step: int = 0
    steps: int = 0
    seed: int | None = None
    preview: Image.Image | None = None
    saved: tuple[Saved, ...] = ()
    notes: tuple[str, ...] = ()
    what: str = "step"
    stopped: bool = False
    waiting: bool = False
    seconds: float = 0.0


class Maker:
    """Makes one thing at a time, on weights that are read once for all that share them."""

    def __init__(self, folders: Folders, registry: Registry) -> None:
        self.reads = 0
        self._folders = folders
        self._registry = registry
        self._alone = threading.Lock()
        self._kept: tuple[str, Pipeline] | None = None
        self._stop: dict[str, threading.Event] = {}

    def stop(self, whose: str) -> bool:
        """End the run of a person once the step under way is done; False where there is none."""
        event = self._stop.get(whose)
        if event is not None:
            event.set()
        return event is not None

    def make(self, asked: Asked, whose: str) -> Iterator[Seen]:
        """Make what is asked for, and save it.

        Args:
            whose: the person's, who may `stop` it.
        Raises:
            LdmError: it cannot be made.
        """
        run = self.run(whose)
        while not run.begins():
            yield Seen(waiting=True)
        with run as stopped:
            yield from self._make(asked, stopped)

    def run(self, whose: str) -> Turn:
        """A turn of a person's, who may `stop` it."""
        return Turn(self._alone, self._stop, whose)

    def pipeline(self, layer: Layer) -> Pipeline:
        """The pipeline of a recipe, on weights that are kept where they are the same; call it
        within `run`.

        Raises:
            LdmError: whatever can be seen to be wrong, before any weight is read.
        """
        base = {key: value for key, value in layer.items() if key in KEPT_WITH}
        rest = {key: value for key, value in layer.items() if key not in KEPT_WITH}
        key = json_text(base)
        with hub_permission(HubPermission(everything=self._folders.hub)):
            whole = compose(layer, self._registry)
            if self._kept is None or self._kept[0] != key:
                self._kept = None
                gc.collect()
                pipe = Pipeline.from_composition(compose(base, self._registry) if rest else whole)
                self._kept = (key, pipe)
                self.reads += 1
            pipe = self._kept[1].replace(**rest) if rest else self._kept[1]
            _ = pipe.model  # read while it is known what the Hub may be asked for
            return pipe

    def _make(self, asked: Asked, stopped: threading.Event) -> Iterator[Seen]:
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LdmWarning)
            yield Seen()
            pipe = self.pipeline(asked.layer)
            seed = secrets.randbelow(2**32) if asked.seed is None else asked.seed
            call = replace(asked, seed=seed).call
            plan = plan_of(pipe.composition, arguments_of(pipe.composition, call))
            stream, previews = pipe.stream(**call), _Previews(pipe)
            seen = Seen(steps=len(plan.grid) - 1, seed=seed)
            try:
                for step in stream:
                    seen = replace(seen, step=step.index + 1, preview=previews(step))
                    yield seen
                    if stopped.is_set():
                        break
            finally:
                stream.close()
            seconds = time.perf_counter() - began
            if stopped.is_set():
                yield replace(seen, stopped=True, preview=None, seconds=seconds)
                return
            saved = save(pipe, stream.output, self._folders.out)
            ours = [f"warning: {w.message}" for w in caught if issubclass(w.category, LdmWarning)]
            notes = tuple(dict.fromkeys(ours))
            yield replace(seen, saved=tuple(saved), notes=notes, preview=None, seconds=seconds)


class Turn:
    """The machine for one run: ``while not turn.begins(): ...``, then ``with turn as stopped:``."""

    def __init__(
        self, alone: threading.Lock, running: dict[str, threading.Event], whose: str
    ) -> None:
        self._alone, self._running, self._whose = alone, running, whose
        self._stopped = running[whose] = threading.Event()

    def begins(self) -> bool:
        """Wait a while for the runs before this one; whether it has the machine now, or was
        stopped while it waited.

        Raises:
            LdmError: it was stopped.
        """
        if self._stopped.is_set():
            self._running.pop(self._whose, None)
            raise LdmError("the run was stopped while it waited for another.")
        return self._alone.acquire(timeout=PATIENCE)

    def __enter__(self) -> threading.Event:
        return self._stopped

    def __exit__(self, *_: Any) -> None:
        if self._running.get(self._whose) is self._stopped:
            del self._running[self._whose]
        self._alone.release()


class _Previews:
    """The estimates of steps as pictures, no more of them than cost a share of the time."""

    def __init__(self, pipe: Pipeline) -> None:
        self._pipe = pipe
        self._next = 0.0
        self._clock: Callable[[], float] = time.perf_counter

    def __call__(self, step: Step) -> Image.Image | None:
        if self._pipe.composition.decoder.kind not in ("image", "video"):
            return None
        began = self._clock()
        if began < self._next:
            return None
        with torch.no_grad():
            data = self._pipe.decoded(step.x0[:1]).data.cpu().float()
        if data.ndim == 5:  # of a video its middle frame
            data = data[:, :, data.shape[2] // 2]
        picture: Image.Image = from_pixels(data.nan_to_num(), "pil")[0]
        picture.thumbnail((SIDE, SIDE))
        self._next = self._clock() + SHARE * (self._clock() - began)
        return picture
