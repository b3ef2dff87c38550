"""What is stopped when it takes longer than it may."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

AGAIN = 0.5
"""Seconds until it is stopped again, where the first time was in code that hears of nothing."""


class TookTooLong(BaseException):
    """It did. No `Exception`, as little as a Ctrl-C is: nothing on the way takes it for a failure
    of its own."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Stop what is done within after some seconds on the clock.

    On the main thread of systems that have an alarm clock; elsewhere, and where somebody else set
    the alarm, it takes as long as it takes.

    Raises:
        TookTooLong: it was stopped.
    """
    own = threading.current_thread() is threading.main_thread() and sys.platform != "win32"
    if not own or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    def stop(*_: object) -> NoReturn:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), AGAIN)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
