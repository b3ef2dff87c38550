"""The loop of a process: take what is free and missing, make it, write it down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ldm_core.errors import (
    LdmError,
    NotFiniteError,
    PluginError,
    TooLittleMemory,
    message_and_hint,
    with_class,
)
from ldm_core.jobs.aside import Aside
from ldm_core.jobs.batching import Batch, Picture
from ldm_core.jobs.checking import defaults_of
from ldm_core.jobs.claims import Claims
from ldm_core.jobs.events import Event, Failed, Made, Packed, Waiting
from ldm_core.jobs.files import Entry, Written, taken
from ldm_core.jobs.largest import largest_of
from ldm_core.jobs.ledger import Ledger, Result
from ldm_core.jobs.pipelines import Around, Pipelines
from ldm_core.machine import machine_error, refused
from ldm_core.media.kinds import noun

if TYPE_CHECKING:
    from ldm_core.jobs.job import Job
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline

FAULTS = 3
"""So many pictures in a row may end in a fault of the program, and the rest goes on."""
PAUSE = 0.2
"""Seconds between looks at what others have."""


def never() -> bool:
    """Go on to the end."""
    return False


class Worker:
    """One process's work on a job.

    Args:
        stop: asked before each batch; the work ends where it is true.
        around: as of `Pipeline.from_composition`.
    """

    def __init__(
        self,
        job: Job,
        claims: Claims,
        ledger: Ledger,
        stop: Callable[[], bool] = never,
        around: Around | None = None,
    ) -> None:
        self._job = job
        self._claims = claims
        self._ledger = ledger
        self._stop = stop
        self._pipelines = Pipelines(job.compositions, around, job.pipe)
        self._faults = 0
        self._aside = Aside(job.asked.batches)

    def run(self) -> Iterator[Event]:
        """Make all that is free, until nothing is left of the job or `stop` says so.

        Raises:
            MachineError: the disk is full, or whatever else a machine refuses. Pictures that
                memory does not suffice for are set aside, for a process that has more, until all
                others are there.
        """
        left = list(self._job.asked.batches)
        while left and not self._stop():
            held: list[Batch] = []
            made = False
            for batch in left:
                if self._stop():
                    return
                pictures = self._missing(batch)
                if not pictures:
                    continue
                indices = [picture.index for picture in pictures]
                if not self._claims.take(indices):
                    self._ledger.read()
                    if self._missing(batch):
                        held.append(batch)
                    continue
                try:
                    self._job.check_record()
                    self._ledger.read()
                    pictures = self._missing(batch)
                    if pictures:
                        made = True
                        yield from self._batch(batch, pictures)
                finally:
                    self._claims.release(indices)
                self._job.files.pack(self._ledger, self._claims)
                yield from map(Packed, self._job.files.packed())
            left = held
            if left and not made:
                self._ledger.read()
                yield Waiting(sum(len(self._missing(batch)) for batch in left))
                time.sleep(PAUSE)
        while not self._stop():
            self._ledger.read()
            self._aside.check(self._ledger.states)
            done = self._job.files.pack(self._ledger, self._claims)
            yield from map(Packed, self._job.files.packed())
            if done:
                return
            time.sleep(PAUSE)

    def _missing(self, batch: Batch) -> list[Picture]:
        """The pictures of a batch of which the ledger says nothing, but for those set aside."""
        return [picture for picture in self._left(batch.pictures) if picture not in self._aside]

    def _left(self, pictures: Sequence[Picture]) -> list[Picture]:
        states = self._ledger.states
        return [picture for picture in pictures if not states[picture.index]]

    def _batch(self, batch: Batch, pictures: list[Picture]) -> Iterator[Event]:
        """Make pictures that are claimed."""
        try:
            pipe = self._pipelines.of(batch.group.choices)
            self._place(pipe, batch)
            _ = pipe.model
        except LdmError as error:
            if machine_error(error) or not self._job.several:
                raise
            yield from self._fail(pictures, error.message, error.hint, error)
            return
        if not self._stop():
            yield from self._make(pipe, batch, pictures)

    def _place(self, pipe: Pipeline, batch: Batch) -> None:
        """Where a recipe says how much memory there is, have weights lie from the beginning so that
        the largest of the batches that they are for fits."""
        if pipe.fitting is None or pipe.fitting.plan is not None:
            return
        job = self._job
        largest = largest_of(job.asked.batches, batch, job.compositions, job.making)
        if largest is not None:
            with suppress(LdmError):  # what cannot be made is said when its turn comes
                pipe.fitting.see(*largest)

    def _make(self, pipe: Pipeline, batch: Batch, pictures: list[Picture]) -> Iterator[Event]:
        """Make pictures at once; where that fails, each by itself, so that one that cannot be made
        takes none with it."""
        making = self._job.making
        call = batch.group.call(pictures, defaults_of(making, pipe.composition))
        left = list(pictures)
        try:
            making.ready(pipe, call)
            watched = pipe if self._job.seen is None else self._job.seen.on(pipe, pictures)
            since = time.perf_counter()
            for output in making.batches(watched, call):
                seconds = (time.perf_counter() - since) / output.asked
                part, left = left[: output.asked], left[output.asked :]
                yield from self._write(output, part, seconds)
                since = time.perf_counter()
            if left:
                raise LdmError("nothing came of it")
        except Exception as error:
            refusal = machine_error(error)
            if isinstance(refusal, TooLittleMemory):
                self._aside.put(batch, self._left(pictures), refusal)
                return
            if refusal is not None or not left:
                raise
            if len(left) == 1:
                self._bear(error)
                message, hint = _said(error)
                yield from self._fail(left, message, hint, error)
                return
            for picture in left:
                if self._stop():
                    return
                yield from self._make(pipe, batch, [picture])

    def _bear(self, error: Exception) -> None:
        """Go on after a fault of a picture; of a program or plugin alone so often in a row."""
        self._faults += isinstance(error, PluginError) or not isinstance(error, LdmError)
        if self._faults > FAULTS:
            raise error

    def _write(
        self, output: Output, pictures: Sequence[Picture], seconds: float
    ) -> Iterator[Event]:
        """Write an output's files, and then the ledger."""
        from ldm_core.run.entries import entry_of, facts_of

        job, events, results = self._job, [], []
        broken: list[tuple[Picture, PluginError]] = []
        several = zip(output.manifests, output.indices, strict=True)
        for index, (manifest, at) in enumerate(several):
            picture = pictures[at]
            manifest.update(facts_of(output, index))
            shown, others = entry_of(job.writer, output, index, job.registry)
            entry = Entry(shown, manifest, tuple(others))
            try:
                with self._writing():
                    written = self._written(picture, entry)
            except PluginError as error:
                broken.append((picture, error))
                continue
            events.append(self._made(picture, written, seconds, manifest))
            result = result_of(picture, written, seconds)
            results.append(replace(result, evaluations=output.evaluations, together=output.asked))
        if results:
            self._faults = 0
            with self._writing():
                job.files.settle()
            self._record(results)
        yield from events
        for failure in output.failures:
            yield from self._fail([pictures[failure.index]], failure.message, failure.hint)
        for picture, fault in broken:
            yield from self._fail([picture], fault.message, fault.hint, fault)
            self._bear(fault)

    def _written(self, picture: Picture, entry: Entry) -> Written:
        """The file of a picture; one that another process left in the meantime is taken for it."""
        files = self._job.files
        try:
            return files.write(picture, entry)
        except FileExistsError:
            there = files.adopt(picture, entry.manifest)
        if there is None:
            raise taken(self._job.folder.path / files.file(picture))
        return there

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What the machine refuses while files are written is no fault of a picture."""
        try:
            yield
        except OSError as error:
            where = self._job.folder.path
            what = noun(self._job.writer.kind)
            raise refused(f"no {what} can be written to '{where}'", error) from error

    def _made(
        self, picture: Picture, written: Written, seconds: float, manifest: dict[str, object]
    ) -> Made:
        folder = self._job.folder.path
        archive = None if written.tar is None else folder / written.tar
        path = folder / written.file
        head = (picture.index, picture.line, path, picture.seed, seconds, manifest)
        return Made(*head, archive=archive)

    def _fail(
        self,
        pictures: Sequence[Picture],
        message: str,
        hint: str,
        cause: BaseException | None = None,
    ) -> Iterator[Event]:
        self._record([Result(p.index, p.line, p.seed, error=message) for p in pictures])
        for picture in pictures:
            yield Failed(picture.index, picture.line, picture.seed, message, hint, cause)

    def _record(self, results: list[Result]) -> None:
        with self._writing():
            self._ledger.append(results)
            self._ledger.read()


def _said(error: Exception) -> tuple[str, str]:
    """What is wrong, and what may help."""
    if isinstance(error, NotFiniteError) and error.failures:
        return error.failures[0].message, error.failures[0].hint
    if isinstance(error, LdmError):
        return message_and_hint(error)
    return with_class(error), ""


def result_of(picture: Picture, written: Written, seconds: float) -> Result:
    """The ledger's line of a file."""
    head = (picture.index, picture.line, picture.seed, written.file, seconds, written.sha256)
    return Result(*head, tar=written.tar, member=written.member)
