"""A job: many pictures of a file of lines, in one folder, by any number of processes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ldm_core.composition.compose import compose
from ldm_core.composition.composition import Composition
from ldm_core.contracts import Writer
from ldm_core.errors import LdmError
from ldm_core.jobs.archives import check_shards, files_of
from ldm_core.jobs.batching import Picture
from ldm_core.jobs.checking import Asked, Terms, defaults_of
from ldm_core.jobs.claims import Claims
from ldm_core.jobs.compositions import Compositions
from ldm_core.jobs.events import Begun, Event, Made
from ldm_core.jobs.files import PictureFiles, Written
from ldm_core.jobs.folder import ABOUT, INPUTS, JobFolder
from ldm_core.jobs.ledger import DONE, FAILED, Ledger
from ldm_core.jobs.lines import Lines
from ldm_core.jobs.machine_checks import check_device
from ldm_core.jobs.making import Making
from ldm_core.jobs.naming import DEFAULT
from ldm_core.jobs.opening import (
    check_inputs,
    checked_lines,
    in_full,
    lines_of,
    of_pictures,
    recorded,
    room_for,
)
from ldm_core.jobs.pipelines import Around
from ldm_core.jobs.processes import size_at_start
from ldm_core.jobs.shards import SHARD_SIZE
from ldm_core.jobs.worker import Worker, never, result_of
from ldm_core.machine import refused
from ldm_core.media.kinds import noun
from ldm_core.media.writers import find_writer
from ldm_core.plugins.registry import Registry

if TYPE_CHECKING:
    from ldm_core.jobs.seeing import Seen
    from ldm_core.run.pipeline import Pipeline


class Changed(LdmError):
    """Files are not what the ledger says."""


@dataclass(frozen=True)
class Job:
    """A job that is checked: every line of it can be made. Made by `open`.

    Attributes:
        lines: of the file.
        asked: what is to be made.
        seed: of the first picture, for lines that say none.
        goes_on: the folder held the job already.
    """

    lines: Lines
    asked: Asked
    seed: int
    goes_on: bool
    compositions: Compositions
    making: Making
    writer: Writer
    files: PictureFiles
    folder: JobFolder
    terms: Terms = field(repr=False)
    record: Mapping[str, Any] = field(repr=False)
    pipe: Pipeline | None = field(default=None, repr=False)
    seen: Seen | None = field(default=None, repr=False)

    @classmethod
    def open(
        cls,
        prompts: str | Path | Lines,
        out: str | Path,
        *,
        choices: Mapping[str, Any],
        inputs: Mapping[str, Any] | None = None,
        seed: int | None = None,
        num_images: int = 1,
        batch_size: int = 8,
        name: str = DEFAULT,
        format: str | None = None,
        skip_bad: bool = False,
        resume: bool = False,
        shards: str | None = None,
        shard_size: int = SHARD_SIZE,
        registry: Registry | None = None,
        making: Making | None = None,
        base: Composition | None = None,
        processes: int = 1,
        pipe: Pipeline | None = None,
        seen: Seen | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> Self:
        """Check a job, and make its folder or go on with the one that is there. No weights are
        read, and nothing is written before all is checked.

        Args:
            prompts: the file of lines, a folder with a data set, or lines as they are.
            out: the job's folder.
            choices: keys of a recipe, in force where a line says nothing else.
            inputs: of the model, likewise.
            seed: of the first picture, the next ones counting up, for lines that say none; random
                where None, and kept with the job.
            num_images: pictures of each line.
            batch_size: pictures that are made at once.
            name: the template of names; fields are ``index``, ``line``, ``seed``, ``prompt`` and
                columns.
            format: name of a writer.
            skip_bad: leave out lines that are bad.
            resume: there must be something to go on with.
            shards: ``folders``, or ``webdataset`` for archives; None for one folder.
            shard_size: pictures of each.
            making: how a batch is made; by a call of the pipeline where None.
            base: the composition of the choices, where it is made already.
            processes: how many there will be at least; batches are no larger than what is
                each one's share.
            pipe: of the base, on whose weights pictures are made; they are read where None.
            seen: shows pictures as they form.
            about: what lines are that are of no file, for whoever reads the record.
        Raises:
            LdmError: lines are bad, or the folder holds another job.
            MachineError: the folder cannot be made or written to.
        """
        folder, making = JobFolder(Path(out)), making or Making()
        check_shards(shards, shard_size)
        there = folder.record()
        if resume and there is None:
            raise LdmError(
                f"there is no job in '{out}' to go on with.",
                "without --resume, a job is begun there.",
            )
        base = base or compose(choices, registry)
        check_device(base)
        if seen is not None:
            seen.showing.check(base.info)
        check_inputs(inputs or {}, base, making)
        writer, compositions = find_writer(base, format), Compositions(base, choices)

        def checked(lines: Lines, first: int) -> tuple[Terms, Asked, PictureFiles]:
            most = -(-len(lines.lines) * num_images // processes)  # so that each has some
            size = max(1, min(batch_size, most))
            terms = Terms(dict(inputs or {}), num_images, size, name, writer.suffix)
            asked = checked_lines(lines, compositions, making, terms, first, skip_bad)
            files = files_of(folder.path, writer, shards, shard_size, asked.batches)
            return terms, asked, files

        with room_for(prompts) as fresh:
            lines = lines_of(prompts, folder.path / INPUTS, fresh)
            record = {
                "command": making.name,
                "lines_sha256": lines.sha256,
                "recipe": of_pictures(base),
                "inputs": recorded(dict(inputs or {})),
                "num_images": num_images,
                "name": name,
                "suffix": writer.suffix,
                "shards": None if shards is None else [shards, shard_size],
                "seed": seed,
                **({} if about is None else {ABOUT: dict(about)}),
            }
            other = None
            if there is not None and folder.differences(in_full(there, base), record):
                if resume or folder.has_pictures(there):
                    folder.check(in_full(there, base), record)
                there, other = None, there
            first = secrets.randbelow(2**32) if seed is None else seed
            if there is not None:
                first = there["seed"]
            terms, asked, files = checked(lines, first)
            extracted = fresh is not None and any(fresh.iterdir())
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            if other is not None:
                folder.begin_anew(other, {**record, "seed": first})
            now = folder.create({**record, "seed": first})
            folder.check(in_full(now, base), record)
            if extracted:
                lines = lines_of(prompts, folder.path / INPUTS)
        except OSError as error:
            raise refused(f"'{out}' cannot be the folder of a job", error) from None
        if extracted or now["seed"] != first:  # another process was first, with a random seed too
            first = now["seed"]
            terms, asked, files = checked(lines, first)
        return cls(
            lines, asked, first, there is not None, compositions, making, writer, files, folder,
            terms, now, pipe, seen,
        )  # fmt: skip

    def check_record(self) -> None:
        """See that the folder is still this job's, which holds a claim: nobody puts another in its
        place then.

        Raises:
            LdmError: another was put there before.
        """
        now = self.folder.record()
        if now is not None and now != self.record:
            raise LdmError(
                f"another job was begun in '{self.folder.path}' before this one made anything.",
                "give another folder with --out.",
            )

    @property
    def several(self) -> bool:
        """Whether its lines make different choices."""
        return len({id(batch.group) for batch in self.asked.batches}) > 1

    @property
    def pictures(self) -> Iterator[Picture]:
        """All that are to be made."""
        return (picture for batch in self.asked.batches for picture in batch.pictures)

    def run(
        self,
        stop: Callable[[], bool] = never,
        check_hashes: bool = False,
        around: Around | None = None,
    ) -> Iterator[Event]:
        """Make what is missing, together with all other processes that do.

        Args:
            stop: asked before each batch; where it is true, the work ends.
            check_hashes: see that what is done is what the ledger says.
            around: gets what reads a model's weights, and calls it for the model.
        Raises:
            LdmError: a name that a picture should have is another file's, or a file is not what
                the ledger says.
            MachineError: the disk is full, or whatever else a machine refuses. What is done stays.
        """
        try:
            self.files.sweep()
            claims = Claims(self.folder.claims)
            try:
                ledger = Ledger(
                    self.folder.ledger, self.asked.pictures, claims.ledger, size_at_start()
                )
                ledger.read()
                gone = self.forget_gone(ledger)
                if check_hashes:
                    self._check_hashes(ledger)
                adopted = list(self._adopted(ledger, claims))
                pictures = list(self.pictures)
                done = sum(ledger.states[p.index] == DONE for p in pictures)
                yield Begun(len(pictures), done - len(adopted), len(self.asked.bad), gone)
                yield from adopted
                yield from Worker(self, claims, ledger, stop, around).run()
            finally:
                claims.close()
        except OSError as error:
            raise refused(f"the job in '{self.folder.path}' cannot go on", error) from error

    def standing(self) -> tuple[int, int]:
        """How many pictures are there, and how many could not be made, of all processes.

        Raises:
            MachineError: the ledger cannot be read.
        """
        try:
            ledger = Ledger(self.folder.ledger, self.asked.pictures, nullcontext, 0)
            ledger.read()
        except OSError as error:
            raise refused(f"the ledger of '{self.folder.path}' cannot be read", error) from error
        states = [ledger.states[picture.index] for picture in self.pictures]
        return states.count(DONE), states.count(FAILED)

    def summary(self) -> str:
        """How many pictures are on disk, whether the ledger has them yet or not."""
        there = self.files.there()
        count = sum(self.files.file(picture) in there for picture in self.pictures)
        are = "is" if count == 1 else "are"
        return f"{count} {noun(self.writer.kind, count)} {are} in {self.folder.path}"

    @property
    def registry(self) -> Registry:
        """The plugins that there are."""
        return self.compositions.base.registry

    def _adopted(self, ledger: Ledger, claims: Claims) -> Iterator[Made]:
        """Pictures that are there and not in the ledger, whose process died between the two."""
        there = self.files.there()
        for batch in self.asked.batches:
            for picture in batch.pictures:
                if ledger.states[picture.index] == DONE or self.files.file(picture) not in there:
                    continue
                if not claims.take([picture.index]):
                    continue
                try:
                    self.check_record()
                    ledger.read()
                    if ledger.states[picture.index] == DONE:
                        continue
                    composition = self.compositions.of(batch.group.choices)
                    call = batch.group.call([picture], defaults_of(self.making, composition))
                    manifests = self.making.manifests(composition, call)
                    if manifests is None:
                        continue
                    written = self.files.adopt(picture, manifests[0])
                    if written is None:
                        continue
                    ledger.append([result_of(picture, written, 0.0)])
                    path = self.folder.path / written.file
                    archive = None if written.tar is None else self.folder.path / written.tar
                    head = (picture.index, picture.line, path, picture.seed, 0.0, manifests[0])
                    yield Made(*head, adopted=True, archive=archive)
                finally:
                    claims.release([picture.index])
        ledger.read()

    def forget_gone(self, ledger: Ledger) -> int:
        """Count pictures as missing of which the ledger speaks and the folder has no file."""
        there = self.files.there()
        gone = 0
        for picture in self.pictures:
            if ledger.states[picture.index] == DONE and self.files.file(picture) not in there:
                ledger.states[picture.index] = 0
                gone += 1
        return gone

    def _check_hashes(self, ledger: Ledger) -> None:
        last = {r.index: r for r in ledger.results() if ledger.states[r.index] == DONE}
        files = [
            Written(r.file, r.sha256, r.tar, r.member) for r in last.values() if r.file and r.sha256
        ]
        changed = self.files.changed(files)
        if changed:
            names = ", ".join(changed[:20])
            more = f" and {len(changed) - 20} more" if len(changed) > 20 else ""
            raise Changed(
                f"{len(changed)} of {len(files)} files are not what the ledger says: "
                f"{names}{more}.",
                "remove them, or move them to another folder; then the same command makes them "
                "again.",
            )
