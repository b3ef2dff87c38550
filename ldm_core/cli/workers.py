"""``--workers N``: several processes of the same command on a job."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from ldm_core.cli.ends import FAILED, MACHINE, say
from ldm_core.cli.signals import PatientSignals, Stop
from ldm_core.cli.streams import print_line
from ldm_core.errors import LdmError, add_note, did_you_mean
from ldm_core.jobs.events import Event
from ldm_core.jobs.job import Changed, Job
from ldm_core.jobs.ledger import size_of
from ldm_core.jobs.processes import Ended, Said, Workers, started_by, this_command
from ldm_core.jobs.ray_engine import RayWorkers, check_installed
from ldm_core.model.launched import launched
from ldm_core.plugins.registry import installed

ENGINES = ("local", "ray")
"""What runs processes."""
LOOK = 0.2
"""Seconds between two looks whether a signal came."""


Start = Callable[[int], Workers | RayWorkers]
"""``start(size)``: starts the processes of a job whose ledger has this size."""


def starter(engine: str, count: int | None) -> Start | None:
    """What starts the processes of a job; None where this one makes it alone.

    Args:
        count: how many, where that is asked for.
    Raises:
        LdmError: there is no such engine.
    """
    if engine == "ray":
        check_installed()
        return lambda size: RayWorkers(sys.argv[1:], count, size)
    if engine != "local":
        raise LdmError(
            f"there is no engine '{engine}'.{did_you_mean(engine, ENGINES)} "
            f"There are {' and '.join(ENGINES)}."
        )
    if count is None or count == 1:
        return None
    there = launched()
    if there is not None and min(there.count, there.here) > 1 and started_by() is None:
        raise LdmError(
            f"{there.count} processes were started together ({there.launcher}), several of them on "
            f"one machine, and --workers {count} would have each of them start {count} more, which "
            f"know nothing of those of the others and take the same devices.",
            "leave --workers out, or start one process on each machine.",
        )
    return lambda size: Workers(this_command(), count, size)


def run_workers(
    job: Job,
    start: Start,
    check_hashes: bool,
    hear: Callable[[Event], None],
    aside: Callable[[], AbstractContextManager[None]] = nullcontext,
    started: Callable[[], None] = lambda: None,
) -> int:
    """Start processes for a job, print what they print, and wait for them.

    Args:
        start: what starts them.
        hear: is told how far the job is before they start.
        aside: gives a context in which something can be printed.
        started: is called once they are started.
    Returns:
        The exit code: not 0 where some pictures are not made.
    Raises:
        Stop: a signal came; they end after the batches in work, and at a second one at once.
    """
    try:
        for event in job.run(lambda: True, check_hashes=check_hashes):
            hear(event)
    except Changed as error:
        error.add_note(summary(job, error))
        raise
    said = {f"warning: {text}" for text in installed().unknown}  # as this process did
    with PatientSignals() as signals:
        workers = start(size_of(job.folder.ledger))
        started()
        sent = False
        try:
            for heard in workers.events(LOOK):
                with aside() if heard is not None else nullcontext():
                    if isinstance(heard, Said):
                        _print(heard, said)
                    elif isinstance(heard, Ended) and not sent:
                        _say_ended(heard)
                if signals.signum is not None and not sent:
                    sent = True
                    workers.send(signals.signum)
        except BaseException as error:
            workers.end()
            add_note(error, summary(job, error))
            raise
    if signals.signum is not None:
        stop = Stop(signals.signum)
        stop.add_note(summary(job))
        raise stop
    return _code(job, workers)


def summary(job: Job, error: BaseException | None = None) -> str:
    """What is on disk, and how to go on, where the error that ended it does not say so itself."""
    if isinstance(error, Changed):
        return job.summary()
    return f"{job.summary()}; the same command goes on with the rest"


def _print(line: Said, said: set[str]) -> None:
    """Print a line of a process: of notices, which all of them may have, each once."""
    if not line.error:
        print_line(line.text)
    elif line.text not in said:
        said.add(line.text)
        say(line.text)


def _say_ended(event: Ended) -> None:
    if event.code in (0, FAILED):
        return
    how = (
        f"was ended by {signal.Signals(-event.code).name}"
        if event.code < 0
        else f"ended with exit code {event.code}"
    )
    rest = f"the other {event.left} go on with its work" if event.left > 1 else ""
    rest = "the other one goes on with its work" if event.left == 1 else rest
    say(f"note: process {event.number} {how}{f'; {rest}' if rest else ''}")


def _code(job: Job, workers: Workers | RayWorkers) -> int:
    """The exit code: 0 where every picture of every line is there."""
    done, failed = job.standing()
    left = sum(1 for _ in job.pictures) - done - failed
    if left:
        say(
            f"error: {left} pictures are not made, and no process is left to make them\n  "
            f"{summary(job)}"
        )
        codes = [code for code in workers.codes.values() if code > 0]
        return max(codes, default=MACHINE)
    return FAILED if failed or job.asked.bad else 0
