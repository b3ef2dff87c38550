"""By what a person hears of a run: the standard streams, what is logged and warned of, and how
errors and signals are heard."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from contextlib import suppress
from typing import Any

from ldm_core.errors import LdmWarning
from ldm_core.plugins.itself import own, place_of, restored
from ldm_core.plugins.looked_at import are_identical
from ldm_core.plugins.process import logged, set_logged

STREAMS = {"stdout": "the standard output", "stderr": "the standard error stream"}
SIGNALS = tuple(
    signal.__dict__[name] for name in ("SIGINT", "SIGTERM", "SIGALRM") if name in signal.__dict__
)
MUTES = ("ignore", "error")
"""What a filter may do with every warning, after which none is heard."""


class Voices:
    """As they were when this was made."""

    def __init__(self) -> None:
        self._streams = {name: vars(sys)[name] for name in STREAMS}
        self._own = {name: own(stream) for name, stream in self._streams.items()}
        self._places = {number: place_of(number) for number in (1, 2)}
        self._copies = {n: os.dup(n) for n, place in self._places.items() if place is not None}
        self._hooks = _hooks()
        self._heard = {number: signal.getsignal(number) for number in SIGNALS}
        self._logged = logged() if "logging" in sys.modules else None
        self._mutes, self._filters = _mutes(), list(warnings.filters)

    def put_back(self, *, signals: bool = True) -> list[str]:
        """Have them as they were; what was not, each with a place for who changed it.

        Args:
            signals: how these are heard too, which the first of them changes.
        """
        said = []
        for number, copy in self._copies.items():
            if place_of(number) != self._places[number]:
                os.dup2(copy, number)
                what = list(STREAMS.values())[number - 1]
                said.append(f"where {what} leads was changed by {{}}; it is put back.")
            os.close(copy)
        for name, stream in self._streams.items():
            what = STREAMS[name]
            if restored(stream, self._own[name]):
                said.append(f"what {what} does was changed by {{}}; it is put back.")
            if vars(sys)[name] is not stream:
                vars(sys)[name] = stream
                another = what.replace("the", "another", 1)
                said.append(f"{another} was set by {{}}; that of before is put back.")
        for what, changed in (
            ("how warnings and errors are shown", self._shown_anew()),
            ("what is logged", self._logged_anew()),
            ("what signals do", signals and self._heard_anew()),
        ):
            if changed:
                said.append(f"{what} was changed by {{}}; it is put back.")
        return said

    def _shown_anew(self) -> bool:
        changed = not are_identical(_hooks(), self._hooks)
        if changed:
            hooks = self._hooks
            warnings.showwarning, sys.excepthook, sys.unraisablehook = hooks[:3]
            threading.excepthook = hooks[3]
            sys.settrace(hooks[4])
            sys.setprofile(hooks[5])
        mutes = _mutes() and not self._mutes
        if mutes:
            warnings.filters[:] = self._filters  # type: ignore[index]
            warnings._filters_mutated()  # type: ignore[attr-defined]
        return changed or mutes

    def _logged_anew(self) -> bool:
        if "logging" not in sys.modules:
            return False
        before = self._logged
        if before is None:  # it came meanwhile, and is as it is at first
            before = (0, 30, ())
        if are_identical(logged(), before):
            return False
        set_logged(before)
        return True

    def _heard_anew(self) -> bool:
        new = [one for one, what in self._heard.items() if signal.getsignal(one) is not what]
        for number in new:
            with suppress(ValueError, TypeError):  # of C's own, or in another thread
                signal.signal(number, self._heard[number])
        return bool(new) and threading.current_thread() is threading.main_thread()


def _hooks() -> tuple[Any, ...]:
    both = (warnings.showwarning, sys.excepthook, sys.unraisablehook, threading.excepthook)
    return (*both, sys.gettrace(), sys.getprofile())


def _mutes() -> bool:
    """Whether the first filter that holds for every warning of ours has none of them heard."""
    for one in list(warnings.filters):
        if type(one) is not tuple or len(one) != 5:  # with which Python warns of nothing at all
            return True
        if one[1] is one[3] is None and any(one[2] is kind for kind in LdmWarning.__mro__):
            return type(one[0]) is not str or one[0] in MUTES
    return False
