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
from types import ModuleType

from ldm_core.plugins.arithmetic import Arithmetic
from ldm_core.plugins.lookup import Lookup
from ldm_core.plugins.patches import Patches
from ldm_core.plugins.process import Process

HEAVY = ("torch", "diffusers", "transformers")
"""Packages that no listing should have to import."""
KEPT = frozenset({"builtins", "io", "json", "ldm_core", "os", "pathlib", "pluggy", "time"})
"""Packages that list plugins, and what those do it with."""
NONE = object()
SIGNALS = tuple(
    signal.__dict__[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM")
    if name in signal.__dict__
)


@dataclass
class Traces:
    """What a plugin module left behind.

    Attributes:
        changed: what it changed for others, and was put back.
        left: what it changed for others, and could not be put back.
        heavy: the packages of `HEAVY` that were imported for it.
    """

    changed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    heavy: list[str] = field(default_factory=list)


class Surroundings:
    """What plugin modules share while they are imported: the environment, the working folder, the
    command line, the standard streams, how warnings are shown and signals heard, the modules that
    are there, and what torch does where nobody says. It is as it was when this was made, after
    each."""

    def __init__(self) -> None:
        self._variables, self._arguments = dict(os.environ), list(sys.argv)
        self._streams = sys.stdin, sys.stdout, sys.stderr
        self._shown = warnings.showwarning, list(warnings.filters), sys.excepthook
        self._heard = {number: signal.getsignal(number) for number in SIGNALS}
        self._limit = sys.getrecursionlimit()
        self._lookup, self._arithmetic = Lookup(), Arithmetic()
        self._contents = {
            module: dict(vars(module))
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] in KEPT and isinstance(module, ModuleType)
        }
        self._classes = {
            value: dict(vars(value))
            for module, contents in self._contents.items()
            for value in contents.values()
            if isinstance(value, type) and value.__module__ == module.__name__
        }
        self._process, self._patches = Process(), Patches()
        self._large = {name for name in HEAVY if name in sys.modules}
        self._folder = ""
        with suppress(OSError):  # it may be gone
            self._folder = os.getcwd()

    @contextmanager
    def kept(self, package: str) -> Iterator[Traces]:
        """Meanwhile a plugin's code runs; afterwards all is put back.

        Args:
            package: of the plugin module, the name before the first dot.
        """
        traces = Traces()
        modules = dict(sys.modules)
        try:
            yield traces
        finally:
            if sys.getrecursionlimit() != self._limit:
                traces.changed.append("the recursion limit")
                sys.setrecursionlimit(self._limit)
            self._put_back_contents(traces.changed)
            self._patches.put_back(package, traces.changed, traces.left)
            traces.heavy = [name for name in HEAVY if self._came_with(name, modules)]
            if not modules.items() <= sys.modules.items():
                gone = [name for name, one in modules.items() if sys.modules.get(name) is not one]
                traces.changed.append(f"modules that others use ({_few(gone)})")
                sys.modules.update({name: modules[name] for name in gone})
            self._put_back(traces.changed)

    def _came_with(self, name: str, before: dict[str, ModuleType]) -> bool:
        """Whether a large package was imported by modules that were not there before, or is in use
        in one of them."""
        package = sys.modules.get(name)
        if package is None or name in self._large:
            return False
        new = [module for key, module in sys.modules.items() if key not in before]
        return name not in before or any(
            value is package for module in new for value in list(vars(module).values())
        )

    def _put_back_contents(self, changed: list[str]) -> None:
        """What was in the modules of Python itself and ours, such as ``print``."""
        replaced = []
        for module, before in self._contents.items():
            now = vars(module)
            if before == now or before.items() <= now.items():  # the first is the quicker
                continue
            names = [name for name, value in before.items() if now.get(name, NONE) is not value]
            now.update({name: before[name] for name in names})
            replaced += [f"{module.__name__}.{name}" for name in names]
        for one, own in self._classes.items():
            attributes = vars(one)
            for name, value in own.items():
                if attributes.get(name, NONE) is not value:
                    type.__setattr__(one, name, value)
                    replaced.append(f"{one.__qualname__}.{name}")
        if replaced:
            changed.append(f"what others use ({_few(replaced)})")

    def _put_back(self, changed: list[str]) -> None:
        self._lookup.put_back(changed)
        self._arithmetic.put_back(changed)
        self._process.put_back(changed)
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
