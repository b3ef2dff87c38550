"""The one line that says how far a job is, whichever of its processes says it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ldm_core.cli.ends import say
from ldm_core.jobs.pace import Pace, Standing, told

OFTEN, SELDOM = 0.5, 30.0
"""Seconds between two lines on a terminal, where the one takes the other's place, and elsewhere."""
LOOK = 0.5
"""Seconds between two looks whether the process that spoke has died."""
ERASE = "\r\x1b[K"


class Speaker:
    """Says how far a job is, from a thread of its own, while this process is the one to say it.

    Args:
        standing: says how far it is.
        speaks: whether this process is the one, which another may have been until now.
    """

    def __init__(self, standing: Callable[[], Standing], speaks: Callable[[], bool]) -> None:
        self._standing, self._speaks = standing, speaks
        self._terminal = sys.stderr.isatty()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._shown = False
        self._pace: Pace | None = None
        self._thread = threading.Thread(target=self._work, name="ldm-progress", daemon=True)

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """While a job runs; a last line where it came to its end."""
        self._thread.start()
        try:
            yield
        except BaseException:
            self._end()
            raise
        self._end()
        if self._speaks():
            say(self._line())

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The line out of the way, for what else is printed."""
        with self._lock:
            self._erase()
            yield

    def _work(self) -> None:
        next_line = time.monotonic() + (OFTEN if self._terminal else SELDOM)
        while not self._over.wait(min(LOOK, OFTEN)):
            if self._speaks() and time.monotonic() >= next_line:
                self._say()
                next_line = time.monotonic() + (OFTEN if self._terminal else SELDOM)

    def _line(self) -> str:
        standing, now = self._standing(), time.monotonic()
        if self._pace is None:
            self._pace = Pace(now, standing)
        return told(standing, self._pace.rate(now, standing))

    def _say(self) -> None:
        try:
            line = self._line()
        except OSError:  # the folder is gone: whoever makes pictures will say so
            return
        if not self._terminal:
            say(line)
            return
        with self._lock:
            if not self._over.is_set():
                sys.stderr.write(f"{ERASE}{line}")
                sys.stderr.flush()
                self._shown = True

    def _erase(self) -> None:
        if self._shown:
            sys.stderr.write(ERASE)
            sys.stderr.flush()
            self._shown = False

    def _end(self) -> None:
        self._over.set()
        self._thread.join()
        with self._lock:
            self._erase()
