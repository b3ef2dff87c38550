"""What a plugin module may not change for its neighbours while it is imported is put back."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

HEAVY = ("torch", "diffusers", "transformers")
"""Packages that no listing should have to import."""
SIGNALS = tuple(
    signal.__dict__[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.__dict__
)


@dataclass
class Traces:
    """What a plugin module left behind.

    Attributes:
        changed: what it changed for others, and was put back.
        heavy: the packages of `HEAVY` that were imported for it.
    """

    changed: list[str] = field(default_factory=list)
    heavy: list[str] = field(default_factory=list)


class Surroundings:
    """What plugin modules share while they are imported: the environment, the working folder, the
    command line, the standard streams, how warnings are shown and signals heard, and the modules
    that are there. It is as it was when this was made, after each."""

    def __init__(self) -> None:
        self._variables, self._arguments = dict(os.environ), list(sys.argv)
        self._streams = sys.stdin, sys.stdout, sys.stderr
        self._shown = warnings.showwarning, list(warnings.filters), sys.excepthook
        self._heard = {number: signal.getsignal(number) for number in SIGNALS}
        self._folder = ""
        with suppress(OSError):  # it may be gone
            self._folder = os.getcwd()

    @contextmanager
    def kept(self) -> Iterator[Traces]:
        """Meanwhile a plugin's code runs; afterwards all is put back."""
        traces = Traces()
        modules = dict(sys.modules)
        try:
            yield traces
        finally:
            traces.heavy = [name for name in HEAVY if name in sys.modules and name not in modules]
            if not modules.items() <= sys.modules.items():
                gone = [name for name, one in modules.items() if sys.modules.get(name) is not one]
                traces.changed.append(f"modules that others use ({_few(gone)})")
                sys.modules.update({name: modules[name] for name in gone})
            self._put_back(traces.changed)

    def _put_back(self, changed: list[str]) -> None:
        if (now := dict(os.environ)) != self._variables:
            names = {name for name, _ in self._variables.items() ^ now.items()}
            changed.append(f"the environment ({_few(sorted(names))})")
            os.environ.clear()
            os.environ.update(self._variables)
        if sys.argv != self._arguments:
            changed.append("the command line's arguments")
            sys.argv = list(self._arguments)
        if (sys.stdin, sys.stdout, sys.stderr) != self._streams:
            changed.append("the standard streams")
            sys.stdin, sys.stdout, sys.stderr = self._streams
        if (warnings.showwarning, list(warnings.filters), sys.excepthook) != self._shown:
            changed.append("how warnings and errors are shown")
            warnings.showwarning, sys.excepthook = self._shown[0], self._shown[2]
            warnings.filters[:] = self._shown[1]  # type: ignore[index]
            warnings._filters_mutated()  # type: ignore[attr-defined]
        with suppress(OSError):
            if self._folder and os.getcwd() != self._folder:
                changed.append("the working folder")
                os.chdir(self._folder)
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._heard.items():
                if handler is not None and signal.getsignal(number) != handler:
                    changed.append(f"what {number.name} does")
                    signal.signal(number, handler)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} others" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
