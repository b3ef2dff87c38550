"""The one run that the page has under way: made step by step, stopped between two steps."""

from __future__ import annotations

import gc
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ldm_core.composition.compose import OF_WEIGHTS, compose
from ldm_core.composition.composition import Composition
from ldm_core.composition.recipe import Layer
from ldm_core.contracts import Request, Step
from ldm_core.errors import LdmWarning
from ldm_core.jobs.making import arguments_of, plan_of
from ldm_core.media.json_text import json_text
from ldm_core.media.pixels import from_pixels
from ldm_core.media.writers import find_writer
from ldm_core.model.hub_permission import HubPermission, hub_permission
from ldm_core.plugins.registry import Registry
from ldm_core.run.decoding import decoder_for
from ldm_core.run.memory.foreseen import foreseen
from ldm_core.run.output import Failure, Output
from ldm_core.run.pipeline import Pipeline
from ldm_core.run.stream import Stream
from ldm_pipelines.page.filled import Asked
from ldm_pipelines.page.folders import Folders
from ldm_pipelines.page.saving import Saved, save
from ldm_pipelines.page.turns import Turn

KEPT_WITH = (*OF_WEIGHTS, "tf32", "loras", "converters")
"""Keys of a recipe with which weights are read; all others change a pipeline on the same ones."""
SHARE = 5
"""A preview is made at most so often that it costs one part in so many of the time."""
BATCH = 8
"""Pictures that are computed at once, as of the commands."""
APART = 0.1
"""Seconds between two steps that are told at least: what a browser shows of a fast run would pile
up, and a stop be seen behind all of it."""
SIDE = 512
"""Pixels of a preview's longer side at most."""


@dataclass(frozen=True)
class Seen:
    """What a person sees of a run.

    Attributes:
        step: of ``steps``, from 1; 0 before the first.
        batch: of ``batches``, from 0, those of the pictures that are asked for.
        preview: what the estimate of the step shows, where one was made.
        saved: the files so far.
        fresh: some of them have not been seen before.
        what: a step is, in a word.
        notes: what is to be said at the end.
        done: nothing more comes.
        stopped: by the person; what was saved before stays.
        waiting: for another run to end.
    """

    step: int = 0
    steps: int = 0
    batch: int = 0
    batches: int = 1
    seed: int | None = None
    preview: Image.Image | None = None
    saved: tuple[Saved, ...] = ()
    fresh: bool = False
    notes: tuple[str, ...] = ()
    what: str = "step"
    done: bool = False
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

    def pipeline(
        self, layer: Layer, check: Callable[[Composition], None] = lambda whole: None
    ) -> Pipeline:
        """The pipeline of a recipe, on weights that are kept where they are the same; call it
        within `run`.

        Args:
            check: sees that what is to be made can be, before weights are read.
        Raises:
            LdmError: whatever can be seen to be wrong, before any weight is read.
        """
        base = {key: value for key, value in layer.items() if key in KEPT_WITH}
        rest = {key: value for key, value in layer.items() if key not in KEPT_WITH}
        key = json_text(base)
        with hub_permission(HubPermission(everything=self._folders.hub)):
            whole = compose(layer, self._registry)
            check(whole)
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
            seed = secrets.randbelow(2**32) if asked.seed is None else asked.seed
            call = {**replace(asked, seed=seed).call, "batch_size": BATCH}
            pipe = self.pipeline(asked.layer, lambda whole: _check(whole, asked, call))
            plan = plan_of(pipe.composition, arguments_of(pipe.composition, call))
            seen = Seen(steps=len(plan.grid) - 1, seed=seed, batches=len(plan.batches(BATCH)))
            run, previews = (
                _Run(pipe, call, asked.format, self._folders.out),
                _Previews(pipe, plan.request),
            )
            try:
                told = 0.0
                for step in run.stream:
                    fresh = len(run.saved) > len(seen.saved)
                    seen = replace(seen, step=step.index + 1, batch=run.made, fresh=fresh)
                    if fresh or step.index == 0 or time.perf_counter() - told >= APART:
                        seen = replace(seen, saved=tuple(run.saved), preview=previews(step))
                        yield seen
                        told = time.perf_counter()
                    if stopped.is_set():
                        break
            finally:
                run.stream.close()
            saved, seconds = tuple(run.saved), time.perf_counter() - began
            seen = replace(seen, saved=saved, fresh=True, preview=None, seconds=seconds, done=True)
            if run.made < seen.batches:
                yield replace(seen, stopped=True)
                return
            ours = [f"warning: {w.message}" for w in caught if issubclass(w.category, LdmWarning)]
            lost = [f"error: {failure.message}" for failure in run.lost]
            notes = tuple(dict.fromkeys([*lost, *ours]))
            yield replace(seen, batch=run.made, notes=notes)


def _check(whole: Composition, asked: Asked, call: dict[str, Any]) -> None:
    """See that a call can be made, and the files written, as far as is known without weights."""
    find_writer(whole, asked.format)
    foreseen(whole, plan_of(whole, arguments_of(whole, call)).batches(BATCH))


class _Run:
    """A call that saves each batch as soon as it is made.

    Attributes:
        stream: its steps.
        made: batches.
        saved: files.
        lost: pictures that are not finite, and so are none.
    """

    def __init__(self, pipe: Pipeline, call: dict[str, Any], format: str | None, out: Path) -> None:
        self.made = 0
        self.saved: list[Saved] = []
        self.lost: list[Failure] = []
        tellers: list[Callable[[Step], None]] = []
        batches = pipe.batches(**call, on_step=lambda step: tellers[0](step))

        def run(on_step: Callable[[Step], None]) -> Output:
            tellers.append(on_step)
            for output in batches:
                self.saved += save(pipe, output, out, format)
                self.lost += output.failures
                self.made += 1
            return output

        self.stream = Stream(run)


class _Previews:
    """The estimates of steps as pictures, no more of them than cost a share of the time."""

    def __init__(self, pipe: Pipeline, request: Request) -> None:
        self._pipe = pipe
        self._decode = decoder_for(pipe, request)
        self._next = 0.0
        self._clock: Callable[[], float] = time.perf_counter

    def __call__(self, step: Step) -> Image.Image | None:
        if self._pipe.composition.decoder.kind not in ("image", "video"):
            return None
        began = self._clock()
        if began < self._next:
            return None
        with torch.no_grad():
            data = self._decode(step.x0[:1]).data.cpu().float()
        if data.ndim == 5:  # of a video its middle frame
            data = data[:, :, data.shape[2] // 2]
        picture: Image.Image = from_pixels(data.nan_to_num(), "pil")[0]
        picture.thumbnail((SIDE, SIDE))
        self._next = self._clock() + SHARE * (self._clock() - began)
        return picture
