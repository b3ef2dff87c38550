"""Several processes of one command on one job, started by another process of it.

They share the job's folder alone, as any others do: one that dies holds nobody up. What they print
comes through the process that started them, each notice once.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from ldm_core.model.launched import launched

WORKER = "LDM_JOB_WORKER"
"""The variable that a process has which was started so: the number of the one that started it."""
SINCE = "LDM_JOB_SINCE"
"""How large the ledger was when the processes were started; what failed since is not tried again by
any of them."""
LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
"""What launchers set, by which each process takes a device of its own."""


@dataclass(frozen=True)
class Said:
    """A line that a process printed.

    Attributes:
        error: on the standard error stream.
    """

    text: str
    error: bool


@dataclass(frozen=True)
class Ended:
    """A process came to its end.

    Attributes:
        number: from 1.
        code: its exit code; negative where a signal ended it.
        left: how many others still run.
    """

    number: int
    code: int
    left: int


class Workers:
    """Processes of a command.

    Args:
        command: which each of them runs.
        count: how many.
        since: the size of the ledger.
    """

    def __init__(self, command: Sequence[str], count: int, since: int) -> None:
        self._lines: queue.Queue[Said | Ended] = queue.Queue()
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []
        self.codes: dict[int, int] = {}
        for number in range(count):
            process = subprocess.Popen(  # noqa: S603 - the command that this process runs itself
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=environment(os.environ, number, count, since),
                start_new_session=True,  # a Ctrl-C reaches them through the one that started them
            )
            self._processes.append(process)
        for number, process in enumerate(self._processes, 1):
            thread = threading.Thread(target=self._wait, args=(number, process), daemon=True)
            thread.start()

    def events(self, seconds: float) -> Iterator[Said | Ended | None]:
        """What is heard of them until all have ended; None where for so long there was nothing."""
        while len(self.codes) < len(self._processes):
            try:
                event = self._lines.get(timeout=seconds)
            except queue.Empty:
                yield None
                continue
            if isinstance(event, Ended):
                self.codes[event.number] = event.code
            yield event

    def send(self, signum: int) -> None:
        """Send a signal to all that still run."""
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(signum)

    def end(self) -> None:
        """End all that still run, at once."""
        self.send(signal.SIGKILL)
        for process in self._processes:
            process.wait()

    def _wait(self, number: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        other = threading.Thread(target=self._read, args=(process.stderr, True), daemon=True)
        other.start()
        self._read(process.stdout, False)
        other.join()
        code = process.wait()
        left = sum(process.poll() is None for process in self._processes)
        self._lines.put(Ended(number, code, left))

    def _read(self, stream: IO[str], error: bool) -> None:
        for line in stream:
            self._lines.put(Said(line.rstrip("\n"), error))


def environment(
    before: Mapping[str, str], number: int, count: int, since: int, alone: bool = False
) -> dict[str, str]:
    """What a process is started with: its rank, and its share of the processors.

    Args:
        alone: no other of them has its device.
    """
    after = {**before, WORKER: str(os.getpid()), SINCE: str(since)}
    after |= dict(
        zip(LAUNCHED, map(str, (number, count, number, 1 if alone else count)), strict=True)
    )
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    after.setdefault("OMP_NUM_THREADS", str(threads))
    return after


def processes(workers: int | None) -> int:
    """How many processes there are: so many as are asked for, or as a launcher says."""
    there = launched()
    return max(workers or 1, 1 if there is None else there.count)


def this_command() -> list[str]:
    """The command that this process runs, for another."""
    return [sys.executable, "-P", "-m", "ldm_core", *sys.argv[1:]]


def started_by() -> int | None:
    """The number of the process that started this one as a worker; None where none did."""
    text = os.environ.get(WORKER, "")
    return int(text) if text.isascii() and text.isdecimal() else None


def orphaned() -> bool:
    """Whether the process that started this one as a worker has died."""
    parent = started_by()
    return parent is not None and os.getppid() != parent


def size_at_start() -> int | None:
    """The ledger's size when this process was started, where another says so."""
    text = os.environ.get(SINCE, "")
    return int(text) if text.isascii() and text.isdecimal() else None
