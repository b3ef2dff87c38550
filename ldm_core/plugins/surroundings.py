"""What a plugin module may not change for its neighbours while it is imported is put back."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType

from ldm_core.plugins.arithmetic import Arithmetic
from ldm_core.plugins.arrivals import Arrivals, come_since
from ldm_core.plugins.contents import Contents, few
from ldm_core.plugins.inherited import Environment
from ldm_core.plugins.interception import Interception
from ldm_core.plugins.itself import open_streams, stays_itself, unheard
from ldm_core.plugins.looked_at import are_identical
from ldm_core.plugins.lookup import Lookup
from ldm_core.plugins.picture_library import PictureLibrary
from ldm_core.plugins.process import Process
from ldm_core.plugins.timers import Timers

HEAVY = ("torch", "diffusers", "transformers")
"""Packages that no listing should have to import."""
SIGNALS = tuple(
    signal.__dict__[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGPIPE")
    if name in signal.__dict__
)


@dataclass
class Traces:
    """What a plugin module left behind.

    Attributes:
        changed: what it changed for others, and was put back.
        false: modules that it put in the place of others', which were put back.
        heavy: the packages of `HEAVY` that were imported for it.
    """

    changed: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    heavy: list[str] = field(default_factory=list)


class Surroundings:
    """What plugin modules share while they are imported: the environment, the working folder, the
    command line, the standard streams, how warnings are shown and signals heard, the modules that
    are there, and what torch does where nobody says. It is as it was when this was made, after
    each.

    Args:
        neighbours: top-level modules of plugin packages, which are kept from each other too.
    """

    def __init__(self, neighbours: Set[str] = frozenset()) -> None:
        self._environment, self._arguments = Environment(), list(sys.argv)
        self._shown = warnings.showwarning, list(warnings.filters), sys.excepthook
        self._heard = {number: signal.getsignal(number) for number in SIGNALS}
        self._limit = sys.getrecursionlimit()
        self._lookup, self._arithmetic = Lookup(), Arithmetic()
        self._interception, self._pictures = Interception(), PictureLibrary()
        self._process, self._contents = Process(), Contents(neighbours)
        self._arrivals = Arrivals(self._contents)
        self._large = {name for name in HEAVY if name in sys.modules}
        self._folder = _folder()

    @contextmanager
    def kept(self, package: str) -> Iterator[Traces]:
        """Meanwhile a plugin's code runs; afterwards all is put back.

        Args:
            package: of the plugin module, the name before the first dot.
        """
        traces, timers = Traces(), Timers()
        modules = dict(sys.modules)
        try:
            builtins = self._contents.builtins_kept(traces.changed)
            heard, deaf = self._arrivals.heard(package), unheard(traces.changed)
            with open_streams(traces.changed), stays_itself(), builtins, heard, deaf:
                yield traces
        finally:
            if sys.getrecursionlimit() != self._limit:
                traces.changed.append("the recursion limit")
                sys.setrecursionlimit(self._limit)
            timers.put_back(traces.changed)
            traces.false = self._arrivals.put_back(modules)
            self._contents.put_back(package, traces.changed)
            new, whole = come_since(modules)
            self._keep_neighbour(package, new)
            traces.heavy = [name for name in HEAVY if self._came_with(name, modules)]
            gone = [] if whole else [n for n, m in modules.items() if sys.modules.get(n) is not m]
            if gone:
                traces.changed.append(f"modules that others use ({few(gone)})")
                sys.modules.update({name: modules[name] for name in gone})
            self._put_back(traces.changed)

    def find_again(self, changed: list[str]) -> None:
        """Have modules looked for as before, once a plugin module is imported and asked next what
        it offers: what reads that may have to be imported.

        Args:
            changed: takes what was put back.
        """
        with self._arrivals.not_heard():
            self._lookup.put_back(changed)

    def late(self) -> list[str]:
        """What was changed since of what others use, which is put back, as by a thread."""
        changed: list[str] = []
        self._contents.put_back("", changed, late=True)
        return changed

    def _keep_neighbour(self, package: str, new: Iterable[str]) -> None:
        """Keep what is in the modules of a plugin package from the next one."""
        own = {name: sys.modules[name] for name in new if name.partition(".")[0] == package}
        self._contents.take_in(own)

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

    def _put_back(self, changed: list[str]) -> None:
        self._lookup.put_back(changed)
        self._interception.put_back(changed)
        self._pictures.put_back(changed)
        self._arithmetic.put_back(changed)
        self._process.put_back(changed)
        self._environment.put_back(changed)
        if not are_identical(sys.argv, self._arguments):
            changed.append("the command line's arguments")
            sys.argv = list(self._arguments)
        filters = list(warnings.filters)
        if theirs := self._arrivals.filters:
            own, new = {*map(id, self._shown[1])}, {*map(id, theirs)}
            filters = [one for one in filters if id(one) in own or id(one) not in new]
        if not are_identical((warnings.showwarning, filters, sys.excepthook), self._shown):
            changed.append("how warnings and errors are shown")
            warnings.showwarning, sys.excepthook = self._shown[0], self._shown[2]
            warnings.filters[:] = self._shown[1]  # type: ignore[index]
            warnings._filters_mutated()  # type: ignore[attr-defined]
        if self._folder and _folder() != self._folder:
            with suppress(OSError):  # it is gone, and there is nowhere to go back to
                os.chdir(self._folder)
                changed.append("the working folder")
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._heard.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    changed.append(f"what {number.name} does")
                    signal.signal(number, handler)


def _folder() -> str:
    """The working folder; nothing where it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""
