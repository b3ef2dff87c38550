"""Signals that ask the program to stop: each raises what a Ctrl-C raises, on the main thread."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import MethodType
from typing import Any

AGAIN = 0.2
"""Seconds until a signal comes again."""
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
"""Of the signals; a system may lack the last."""


class Stop(KeyboardInterrupt):
    """A signal asked to stop.

    Args:
        signum: its number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def __str__(self) -> str:
        return ""


class StopSignals:
    """While it is open, the first signal raises `Stop`, and a second one does what it did before.

    One that is ignored, as under ``nohup``, stays so, and what a child process hears is its own.
    Outside the main thread, which alone hears of signals, it does nothing. Raised where nothing can
    be, as in a callback of a library, which Python only tells of, it comes again a moment later.

    Args:
        unraised: hears of other errors that went nowhere, where Python's own would.

    Attributes:
        signum: the signal that was heard; None while there was none.
    """

    def __init__(self, unraised: Callable[[Any], Any] | None = None) -> None:
        self.signum: int | None = None
        self._process = os.getpid()
        self._before: dict[int, Any] = {}
        self._usual: dict[int, Any] = {}
        self._given = unraised
        self._hook: Callable[[Any], Any] = sys.unraisablehook
        self._hears = self._unraised  # the one that is set
        self._over = threading.Event()

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._over.clear()
            for name in NAMES:
                signum: int | None = signal.__dict__.get(name)
                usual = (signal.SIG_DFL, signal.default_int_handler)
                if signum is not None and (before := signal.getsignal(signum)) in usual:
                    self._before[signum] = self._usual[signum] = before
                    signal.signal(signum, self._hear)
            self._hook, sys.unraisablehook = sys.unraisablehook, self._hears
        return self

    def __exit__(self, *_: object) -> None:
        if sys.unraisablehook is self._hears:
            sys.unraisablehook = self._hook
        self._over.set()
        self._let_go()
        for signum, usual in self._usual.items():
            if signal.getsignal(signum) == self._hear:  # what else puts handlers back did so later
                signal.signal(signum, usual)
        self._usual.clear()

    def _let_go(self) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()

    def _unraised(self, told: Any) -> None:
        """Hear of an error that went nowhere."""
        if not isinstance(told.exc_value, Stop):
            usual = self._given is not None and self._hook is sys.__unraisablehook__
            (self._given if usual and self._given else self._hook)(told)
            return
        signum = told.exc_value.signum
        self._before[signum] = signal.getsignal(signum)
        signal.signal(signum, self._hear)
        # `Thread.start` waits for the thread, and this should be over when the signal comes
        _thread.start_new_thread(self._send, (signum,))

    def _send(self, signum: int) -> None:
        """Send a signal a moment later, unless the program has ended by then."""
        if not self._over.wait(AGAIN):
            os.kill(os.getpid(), signum)

    def _hear(self, signum: int, _: object) -> None:
        if os.getpid() != self._process:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        if signum not in self._before:  # a second one, which was let go, and put back by others
            signal.signal(signum, self._usual[signum])
            os.kill(os.getpid(), signum)
            return
        self.signum = signum
        self._let_go()
        raise Stop(signum)


class PatientSignals:
    """While it is open, within `StopSignals`, the first signal is only kept, for what goes on to
    the end of a piece of work and then asks for it; a second one does what a first one did before.

    Attributes:
        signum: the signal that was heard; None while there was none.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, Any] = {}
        self._process = os.getpid()

    def __enter__(self) -> PatientSignals:
        if threading.current_thread() is threading.main_thread():
            for name in NAMES:
                signum: int | None = signal.__dict__.get(name)
                if signum is None:
                    continue
                before = signal.getsignal(signum)
                if before is signal.default_int_handler or _is_stop(before):
                    self._before[signum] = before
                    signal.signal(signum, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()

    def heard(self) -> bool:
        """Whether there was one."""
        return self.signum is not None

    def _hear(self, signum: int, frame: Any) -> None:
        if os.getpid() != self._process or self.signum is not None:
            before = self._before[signum]
            self.__exit__()
            before(signum, frame)
            return
        self.signum = signum


def _is_stop(handler: Any) -> bool:
    """Whether a handler of signals is that of `StopSignals`."""
    return isinstance(handler, MethodType) and isinstance(handler.__self__, StopSignals)
