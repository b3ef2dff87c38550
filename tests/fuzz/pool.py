"""Cases in forked children of a process that has imported everything, so that each costs little.

A crash or a hang ends the child alone, and is the fault of the case that it was at.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fuzz import hook
from fuzz.case import Case
from fuzz.child import quicken, refuse_pickles, run_case, run_ldm
from fuzz.shelf import finish_shelf, write_shelf

BATCH = 100
"""Cases of one child."""


class Ended(NamedTuple):
    """How a case ended: the exit code where there is one, its faults, and the first line of its
    message."""

    case: Case
    code: int | None
    faults: list[str]
    message: str = ""


class Pool:
    """
    Args:
        folder: for the shelf and the cases' own folders.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shelf = folder / "shelf"
        self._prepare()

    def _prepare(self) -> None:
        """Import and make what all cases need."""
        os.environ["HF_HOME"] = str(self.folder / "hub")
        os.environ["XDG_CACHE_HOME"] = str(self.folder / "cache")  # of compiled networks
        tempfile.tempdir = str(self.folder)
        quicken()
        silent = os.open(os.devnull, os.O_WRONLY)
        kept = os.dup(2)
        os.dup2(silent, 2)  # the libraries' progress bars
        try:
            if not self.shelf.is_dir():
                write_shelf(self.shelf)

            def ldm(argv: list[str]) -> int | None:
                outcome = run_ldm(argv, Path.cwd(), Path.cwd())
                if outcome.code != 0:
                    print(outcome.err[-2000:], outcome.raised, outcome.heard)
                return outcome.code

            finish_shelf(self.shelf, ldm)
            from fuzz.calls import pipeline

            for family in ("stable-diffusion", "dit"):
                pipeline(str(self.shelf / family))
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(silent)
        refuse_pickles()
        hook.install()
        gc.collect()
        gc.freeze()  # or each child's collections would copy the memory of all of it

    def faults(self, cases: Sequence[Case]) -> Iterator[Ended]:
        """How each case ended, in their order."""
        rest = list(cases)
        while rest:
            batch, rest = rest[:BATCH], rest[BATCH:]
            while batch:
                done = yield from self._in_child(batch)
                batch = batch[done:]

    def _in_child(self, cases: Sequence[Case]) -> Generator[Ended, None, int]:
        """Run as many cases in one child as it survives; gives how many."""
        read, write = os.pipe()
        trace = self.folder / f"trace-{os.getpid()}.txt"
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.close(read)
            _serve(cases, self.shelf, write, trace)
        os.close(write)
        done = 0
        try:
            for case in cases:
                done += 1
                line = _line(read, case.seconds)
                if line is None:
                    os.kill(child, signal.SIGKILL)
                    yield Ended(case, None, [f"hang: {_where(trace)}"])
                    break
                if not line:
                    status = os.waitpid(child, 0)[1]
                    child = 0
                    ended = os.waitstatus_to_exitcode(status)
                    yield Ended(case, None, [f"crash: {ended}: {_where(trace)}"])
                    break
                yield Ended(case, *json.loads(line))
        finally:
            os.close(read)
            if child:
                os.waitpid(child, 0)
            trace.unlink(missing_ok=True)
        return done


def _serve(cases: Sequence[Case], shelf: Path, write: int, trace: Path) -> None:
    """Run cases in the child, one line of JSON for each; never returns."""
    code = 1
    try:
        with trace.open("w") as file, os.fdopen(write, "w") as answers:
            silent = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(silent, stream)
            faulthandler.enable(file)
            for case in cases:
                file.seek(0)
                file.truncate()
                faulthandler.dump_traceback_later(0.9 * case.seconds, file=file)
                ended = run_case(case, shelf)
                faulthandler.cancel_dump_traceback_later()
                answers.write(json.dumps(ended) + "\n")
                answers.flush()
        code = 0
    finally:
        os._exit(code)


def _line(read: int, seconds: float) -> bytes | None:
    """The next line; empty where the writer has gone, None where the time has."""
    end, text = time.monotonic() + seconds, b""
    while not text.endswith(b"\n"):
        if not select.select([read], [], [], max(0.0, end - time.monotonic()))[0]:
            return None
        # byte by byte, so that nothing of the next line is taken
        piece = os.read(read, 1)
        if not piece:
            return b""
        text += piece
    return text


def _where(trace: Path) -> str:
    """The innermost places of the last stack that was written."""
    lines = [
        line.strip() for line in trace.read_text(errors="replace").splitlines() if "File" in line
    ]
    return " < ".join(lines[:3])
