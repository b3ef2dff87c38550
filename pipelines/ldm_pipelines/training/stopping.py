"""To be stopped from outside, by Ctrl-C or SIGTERM, and lose nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """Someone asked to stop.

    Args:
        signum: the signal by which.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def as_exit(self) -> BaseException:
        """What ends the program as its signal does: exit code 130 or 143."""
        if self.signum == signal.SIGINT:
            return KeyboardInterrupt()
        return SystemExit(128 + self.signum)


class StopSignals:
    """While it is open, a signal raises `Stopped`; a second one does what it did before.

    Outside the main thread, which alone hears of signals, it does nothing.
    """

    def __init__(self) -> None:
        self._whole = False
        self._signum: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._hear) for signum in SIGNALS}
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
        self.__exit__()
        self._signum = signum
        if not self._whole:
            raise Stopped(signum)
