"""The one line that says how far a job is, whichever of its processes says it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ldm_core.cli.asking import is_terminal
from ldm_core.cli.ends import say
from ldm_core.contracts import Model
from ldm_core.errors import LdmError
from ldm_core.jobs.pace import Pace, told
from ldm_core.jobs.standing import Watch

OFTEN, SELDOM = 0.5, 30.0
"""Seconds between two lines on a terminal, where the one takes the other's place, and elsewhere.
As often as the former it is seen whether the process that spoke has died."""
ERASE = "\r\x1b[K"


class Speaker:
    """Says how far a job is, from a thread of its own, while this process is the one to say it.

    Args:
        watch: sees how far the job is, and whether this process is the one.
        quiet: it is another's to say.
    """

    def __init__(self, watch: Watch, quiet: bool = False) -> None:
        self._quiet = quiet
        self._watch = watch
        self._terminal = is_terminal(sys.stderr)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._shown = self._reading = False
        self._before: int | None = None
        self._pace = Pace(watch.standing())
        self._thread = threading.Thread(target=self._work, name="ldm-progress", daemon=True)

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """While a job runs."""
        if self._quiet:
            yield
            return
        self._watch.speaks()
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()
            with self._lock:
                self._erase()

    def look(self) -> None:
        """See whether the process that spoke has died, so that this one speaks: asked after each
        batch, as a job may be over before the thread looks again."""
        if not self._quiet:
            self._watch.speaks()

    def last(self) -> None:
        """The line of the end, where this process is the one to say it; another one that ends
        later has no need to."""
        if self._watch.ends:
            say(self._line())

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The line out of the way, for what else is printed."""
        with self._lock:
            self._erase()
            yield

    def reading(self, read: Callable[[], Model]) -> Model:
        """Read weights, which may take long: the line says so."""
        self._reading = True
        try:
            if self._terminal and self._thread.is_alive() and self._watch.speaks():
                self._say()
            return read()
        finally:
            self._reading = False

    def started(self) -> None:
        """Processes were started, which read weights, each for itself: the line says so until one
        of them has made or failed a picture."""
        standing = self._watch.standing()
        self._before = standing.done + standing.failed

    def _work(self) -> None:
        each = OFTEN if self._terminal else SELDOM
        due = time.monotonic() + each
        while not self._over.wait(OFTEN):
            if not self._watch.speaks():
                continue
            if time.monotonic() >= due:
                self._say()
                due = time.monotonic() + each
            else:
                with suppress(OSError, LdmError):  # seen, so that the pace begins in time
                    self._line()

    def _line(self) -> str:
        standing, now = self._watch.standing(), time.monotonic()
        line = told(standing, self._pace.rate(now, standing))
        reading = self._reading or self._before == standing.done + standing.failed
        return f"{line}, reading weights" if reading else line

    def _say(self) -> None:
        try:
            line = self._line()
        except (OSError, LdmError):  # whoever makes pictures says what is wrong with the folder
            return
        with self._lock:
            if not self._terminal:
                say(line)
            elif not self._over.is_set():
                self._shown = True
                write_part(f"{ERASE}{line}")

    def _erase(self) -> None:
        if self._shown:
            self._shown = False
            write_part(ERASE)


def write_part(text: str) -> None:
    """Print a part of a line, where there is still something to print to."""
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()
