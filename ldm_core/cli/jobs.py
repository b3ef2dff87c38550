"""Jobs from the command line: ``--prompts FILE``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import typer

from ldm_core.cli.choices import RunChoices, check_folder, parse_size
from ldm_core.cli.ends import FAILED, say, say_traceback
from ldm_core.cli.inputs import Flags, gather_inputs, read_flags, with_full_paths
from ldm_core.cli.progress import Speaker
from ldm_core.cli.seeing import check_seen, job_seen
from ldm_core.cli.signals import PatientSignals, Stop
from ldm_core.cli.streams import print_line
from ldm_core.cli.workers import Start, run_workers, starter, summary
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError, LdmWarning, add_note
from ldm_core.jobs.checking import bad_lines
from ldm_core.jobs.events import Begun, Event, Failed, Made, Packed
from ldm_core.jobs.functions import FunctionMaking
from ldm_core.jobs.job import Job
from ldm_core.jobs.making import Making
from ldm_core.jobs.naming import DEFAULT
from ldm_core.jobs.pace import Standing
from ldm_core.jobs.processes import orphaned, processes, started_by
from ldm_core.jobs.shards import SHARD_SIZE
from ldm_core.jobs.standing import watched
from ldm_core.media.json_text import json_text
from ldm_core.media.manifest import extent_of
from ldm_core.media.manifest_record import RATE
from ldm_core.model.launched import starting
from ldm_core.model.own_program import makes_only, places_alone, uncollected
from ldm_core.plugins.registry import Plugin, installed
from ldm_core.plugins.warned import told

if TYPE_CHECKING:
    from ldm_core.jobs.seeing import Seen


def run_job(
    plugin: Plugin,
    choices: RunChoices,
    arguments: list[Any],
    options: dict[str, Any],
    flags: Flags,
) -> None:
    """Make the pictures of a file of lines."""
    start = starter(choices.engine, choices.workers)
    check_seen(choices, {})
    seen = job_seen(choices, choices.out, processes(choices.workers))
    making, common = _making(plugin, choices, arguments, options)
    if choices.frame_rate is not None:
        common["frame_rate"] = choices.frame_rate
    with uncollected(), starting(choices.workers or 1):
        job = open_job(choices, making, flags, common, seen)
    if job.asked.of_folders:
        makes_only([plugin, *job.asked.plugins])
    hashes = choices.check_hashes
    if code := carry_out(job, start, choices.json, quiet=choices.quiet, check_hashes=hashes):
        raise typer.Exit(code)


def carry_out(
    job: Job,
    start: Start | None,
    json: bool,
    *,
    quiet: bool = False,
    check_hashes: bool = False,
    kind: Callable[..., Report] | None = None,
) -> int:
    """Make what a job is missing, and print what is heard of it.

    Args:
        start: what starts its processes; this one makes it alone, or as one of them, where None.
        json: print events as JSON.
        quiet: show no progress and print no notes.
        kind: makes the report.
    Returns:
        The exit code: not 0 where some pictures are not made.
    Raises:
        Stop: a signal came.
    """
    kind = kind or Report
    if start is not None and started_by() is None:
        report = kind(job, json, [], everyone=True, quiet=quiet)
        with _shown(job, report, quiet) as speaker:
            ways = (report.hear, speaker.aside, speaker.started)
            return run_workers(job, start, check_hashes, *ways)
    with uncollected(), places_alone():
        import ldm_core.run.pipeline  # noqa: F401
    with warnings.catch_warnings(record=True) as caught, PatientSignals() as signals:
        warnings.simplefilter("always", LdmWarning)
        report = kind(job, json, caught, quiet=quiet)
        try:
            with _shown(job, report, quiet) as speaker:
                _run(job, report, speaker, signals, check_hashes)
        except BaseException as error:
            report.notes()
            add_note(error, summary(job, error))
            raise
    _, failed = job.standing()  # by others too, whose pictures are this job's as well
    return FAILED if failed or job.asked.bad else 0


def _run(
    job: Job, report: Report, speaker: Speaker, signals: PatientSignals, check_hashes: bool
) -> None:
    """Make what is missing.

    Raises:
        Stop: a signal came.
    """
    hashes = check_hashes and started_by() is None
    stop = lambda: signals.heard() or orphaned()  # noqa: E731
    for event in job.run(stop, check_hashes=hashes, around=speaker.reading):
        if started_by() is None:
            speaker.look()
        with speaker.aside():
            report.hear(event)
    with speaker.aside():
        report.notes()
    if signals.signum is not None:
        raise Stop(signals.signum)


@contextmanager
def _shown(job: Job, report: Report, quiet: bool) -> Iterator[Speaker]:
    """How far all processes of a job are, shown by one of them, and what became of it in the
    end."""
    with watched(job) as watch:
        speaker = Speaker(watch, quiet)
        try:
            with speaker.speaking() if started_by() is None else nullcontext():
                yield speaker
        except Stop:
            report.finish(watch.standing())
            raise
        report.finish(watch.standing())
        if started_by() is None:
            speaker.last()


def open_job(
    choices: RunChoices,
    making: Making,
    flags: Flags,
    common: Mapping[str, Any] | None = None,
    seen: Seen | None = None,
) -> Job:
    """The job that the command line asks for, checked.

    Args:
        common: what the command's own arguments and options say for all lines.
        seen: shows its pictures as they form.
    """
    assert choices.prompts_file is not None
    if choices.shard_size is not None and choices.shards is None:
        raise LdmError("--shard-size is for shards: --shards folders or webdataset makes them.")
    layer, registry = choices.layer(), installed()
    base = compose(layer, registry)
    inputs = gather_inputs(
        choices.input or [],
        {"negative_prompt": choices.negative_prompt, **read_flags(flags, base)},
    )
    for name in inputs.keys() & (common or {}).keys():
        raise LdmError(f"'{name}' is given twice: --{name.replace('_', '-')} says it too.")
    check_folder(choices.out)
    return Job.open(
        choices.prompts_file,
        choices.out,
        choices=layer,
        inputs={**with_full_paths(inputs, base), **(common or {})},
        seed=choices.seed,
        num_images=choices.num_images,
        batch_size=choices.batch_size,
        name=DEFAULT if choices.name is None else choices.name,
        format=choices.format,
        skip_bad=choices.skip_bad,
        shards=choices.shards,
        shard_size=SHARD_SIZE if choices.shard_size is None else choices.shard_size,
        resume=choices.resume and started_by() is None,
        registry=registry,
        making=making,
        base=base,
        processes=processes(choices.workers),
        seen=seen,
    )


def _making(
    plugin: Plugin, choices: RunChoices, arguments: list[Any], options: dict[str, Any]
) -> tuple[Making, dict[str, Any]]:
    """How a command makes the pictures of lines, and what it says for all of them."""
    if choices.sheet is not None:
        raise LdmError("a job writes no contact sheet; leave out --sheet.")
    if choices.frames_to is not None:
        raise LdmError("a job writes no frames beside its files; leave out --frames-to.")
    if plugin.distribution == "ldm-core" and plugin.name == "generate":
        if arguments:
            raise LdmError("the prompts are given twice, as words and by --prompts; leave out one.")
        return Making(), {}
    size = (
        dict(zip(("width", "height"), parse_size(choices.size), strict=True))
        if choices.size
        else {}
    )
    making = FunctionMaking(plugin, size)
    return making, making.common(arguments, options)


class Report:
    """Prints what is heard of a job.

    Args:
        everyone: count what all processes make, none of which is this one.
        quiet: print no notes, but of lines that nothing is made of.
    """

    def __init__(
        self,
        job: Job,
        json: bool,
        caught: list[warnings.WarningMessage],
        everyone: bool = False,
        quiet: bool = False,
    ) -> None:
        self._everyone = everyone
        self._quiet = quiet
        self.job = job
        self._json = json
        self._caught = caught
        self.made = self.there = self.failed = 0
        self._said: set[str] = set()
        self._worker = started_by() is not None
        if job.asked.bad and not self._worker:
            say(f"note: {self.bad()}")

    def bad(self) -> str:
        """What is wrong with lines that nothing is made of."""
        return bad_lines(self.job.asked.bad, self.job.lines.path.name)

    def place(self, number: int) -> str:
        """Which line it is, in words."""
        return f"line {number}"

    def finish(self, standing: Standing) -> None:
        """Print that the process ends, with what it did, and how far all of them are."""
        if self._worker:
            return
        self._event(
            "finished",
            made=standing.done - self.there if self._everyone else self.made,
            failed=standing.failed if self._everyone else self.failed,
            skipped=len(self.job.asked.bad),
            done=standing.done,
            left=standing.left,
            pictures=standing.pictures,
        )

    def _event(self, name: str, **values: Any) -> None:
        """Print an event as JSON, where that is asked for."""
        if self._json:
            typer.echo(json_text({"event": name, **values}))

    def hear(self, event: Event) -> None:
        """Print an event."""
        notes = self.notes()
        if isinstance(event, Begun):
            self.there = event.done
            if not self._worker:
                self._begin(event)
        elif isinstance(event, Made):
            self.made += 1
            self._print_made(event, notes)
        elif isinstance(event, Packed):
            if self._json:
                self._event("packed", path=str(event.path))
            else:
                print_line(str(event.path))
        elif isinstance(event, Failed):
            self.failed += 1
            if event.cause is not None:
                say_traceback(event.cause)
            lines = [f"error: {self.place(event.line)}: {event.error}", event.hint]
            say("\n  ".join(filter(None, lines)))
            place = {"index": event.index, "line": event.line, "seed": event.seed}
            self._event("failed", error=event.error, hint=event.hint, **place)

    def _begin(self, event: Begun) -> None:
        counts = {"pictures": event.pictures, "done": event.done, "skipped": event.bad}
        self._event("started", **counts)
        for line in self.job.asked.bad:
            self._event("skipped", line=line.number, reason=line.reason)
        if self._quiet:
            return
        if self.job.goes_on:
            say(
                f"note: goes on with the job in '{self.job.folder.path}': "
                f"{event.done} of {event.pictures} pictures are there"
            )
        if event.gone:
            are = "picture is" if event.gone == 1 else "pictures are"
            say(f"note: {event.gone} {are} no longer where the ledger says, and made again")

    def _print_made(self, event: Made, notes: list[str]) -> None:
        if not self._json:
            if event.archive is None:  # of one in an archive, that is said once it is whole
                print_line(str(event.path))
            return
        manifest = event.manifest
        record = {
            "path": str(event.path),
            "made": not event.adopted,
            "index": event.index,
            "line": event.line,
            "seed": event.seed,
            "seconds": round(event.seconds, 3),
            "prompt": manifest["inputs"].get("prompt"),
            "inputs": manifest["inputs"],
            **extent_of(manifest),
            "num_inference_steps": manifest["num_inference_steps"],
            **({} if RATE not in manifest else {RATE: manifest[RATE]}),
            "warnings": notes,
            **({} if event.archive is None else {"archive": str(event.archive)}),
        }
        self._event("made", **record)

    def notes(self) -> list[str]:
        """The warnings since the last time; what was not said before is said."""
        words = [told(w.message, w.category, w.filename) for w in self._caught]
        self._caught.clear()
        notes = list(dict.fromkeys(text for text in words if text is not None))
        for note in notes:
            if note not in self._said:
                self._said.add(note)
                say(f"warning: {note}")
        return notes
