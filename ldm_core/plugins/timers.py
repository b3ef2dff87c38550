"""Timers that send the process a signal, which ends it where nobody hears that."""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

from ldm_core.errors import PutBackWarning

TIMERS = {"ITIMER_REAL": "SIGALRM", "ITIMER_VIRTUAL": "SIGVTALRM", "ITIMER_PROF": "SIGPROF"}
"""Each with the signal that it sends."""


class Timers:
    """Those that ran when this was made. Until it puts them back, their signals end nothing, where
    they would have; whoever hears of them by a handler of its own does so as before."""

    def __init__(self) -> None:
        self._ran = running()
        self._came: set[int] = set()
        self._hears = self._hear  # the one that is set
        self._before: dict[int, Any] = {}
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            return  # which alone may say what is heard
        for name in TIMERS.values():
            number = signal.__dict__[name]
            before = signal.getsignal(number)
            if before is signal.SIG_DFL or _is_ours(before):
                signal.signal(number, self._hears)
                self._before[number] = before

    def _hear(self, number: int, _: object) -> None:
        self._came.add(number)

    def put_back(self, changed: list[str]) -> None:
        """Stop those that ran not, have their signals do what they did, and say what was not so."""
        new = running() - self._ran
        for name in new:
            signal.setitimer(signal.__dict__[name], 0)
        names = {*(signal.Signals(one).name for one in self._came), *(TIMERS[n] for n in new)}
        if names:
            changed.append(f"the timer that sends {' and '.join(sorted(names))}")
        for number, before in self._before.items():
            if signal.getsignal(number) is self._hears:  # else another's, which others put back
                signal.signal(number, before)


@contextmanager
def unended(whose: Callable[[], str]) -> Iterator[None]:
    """See that no timer ends the program meanwhile, and say who may have set one.

    Args:
        whose: in words.
    """
    timers = Timers()
    try:
        yield
    finally:
        changed: list[str] = []
        timers.put_back(changed)
        for what in changed:
            text = f"{what} was changed by {whose()}; it is put back."
            warnings.warn(PutBackWarning(text), stacklevel=3)


def _is_ours(handler: Any) -> bool:
    return type(handler) is MethodType and type(handler.__self__) is Timers


def running() -> set[str]:
    """The timers that run."""
    if sys.platform == "win32":
        return set()
    return {name for name in TIMERS if signal.getitimer(signal.__dict__[name])[0] > 0}
