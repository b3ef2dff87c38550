"""To be stopped from outside, by Ctrl-C, SIGTERM or a terminal that closes, and lose nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # a system may lack the last
SIGNALS = tuple(signal.__dict__[name] for name in NAMES if name in signal.__dict__)


class Stopped(BaseException):
    """Someone asked to stop.

    Args:
        signum: the signal by which.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def as_exit(self) -> BaseException:
        """What ends the program as its signal does: exit code 130, 143 or 129."""
        if self.signum == signal.SIGINT:
            return KeyboardInterrupt()
        return SystemExit(128 + self.signum)


class StopSignals:
    """While it is open, a signal raises `Stopped`; a second one does what it did before.

    One that is ignored, as under ``nohup``, stays so, and what a child process hears is its own.
    Outside the main thread, which alone hears of signals, it does nothing.
    """

    def __init__(self) -> None:
        self._whole = False
        self._signum: int | None = None
        self._before: dict[int, Any] = {}
        self._process = os.getpid()

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            heard = [signum for signum in SIGNALS if signal.getsignal(signum) != signal.SIG_IGN]
            self._before = {signum: signal.signal(signum, self._hear) for signum in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """What is done within is done to its end, and a signal heard then."""
        self._whole = True
        try:
            yield
        finally:
            self._whole = False
        if self._signum is not None:
            raise Stopped(self._signum)

    def _hear(self, signum: int, _: object) -> None:
        if os.getpid() != self._process:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        self.__exit__()
        self._signum = signum
        if not self._whole:
            raise Stopped(signum)
