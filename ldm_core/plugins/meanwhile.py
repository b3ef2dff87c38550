"""What runs are made with is not replaced by the code of another package while that code runs.

What can be called of ours, of torch's layers, of Diffusers' networks and of other plugin packages,
and our constants, are looked at before and after. What a person's own program changed in between
is theirs to change.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from operator import is_
from types import ModuleType
from typing import Any

from ldm_core.errors import LdmWarning, PutBackWarning
from ldm_core.plugins.arrivals import Arrivals
from ldm_core.plugins.contents import (
    CALLED,
    DEEP,
    INSIDE,
    KEPT,
    LAYERS,
    NONE,
    TORCH,
    Owner,
    built_in,
    built_in_again,
    called,
    few,
    files_of,
    held_in,
    hides,
    is_code_of,
    owners,
    package_of,
    set_back,
    table_of,
    take_away,
)
from ldm_core.plugins.inside import Inside
from ldm_core.plugins.itself import unheard
from ldm_core.plugins.looked_at import are_same, is_a

USED = DEEP | KEPT | {"PIL", "diffusers", "numpy", "safetensors"}
MODULES = DEEP | {"PIL", "diffusers", "numpy", "safetensors", "transformers"}
"""Packages whose modules stay where they are."""
MOST = 12
"""Names that are said of what was changed."""
Packages = Mapping[str, str]
"""The packages of plugins, in words, by their top-level modules."""


class Meanwhile:
    """One for a process, whose parts may run in several threads."""

    def __init__(self) -> None:
        self.neighbours: Set[str] = frozenset()
        self._packages: Packages = {}
        self._arrivals = Arrivals(self)
        self._lock = threading.RLock()
        self._open: list[str] = []
        self._lost: list[str] = []
        self._modules: dict[str, ModuleType] = {}
        self._builtins = built_in()
        self._heard = ExitStack()
        self._forget()

    def _forget(self) -> None:
        self._count = 0
        self._before: dict[Owner, dict[str, Any]] = {}
        self._live: list[dict[str, Any]] = []
        self._flat: list[Any] = []
        self._inside = Inside()

    def keeps(self, name: str) -> bool:
        """Whether what is in a module is kept."""
        top = name.partition(".")[0]
        if top == "torch":
            return name in TORCH or name.startswith(LAYERS)
        return top in USED or top in self.neighbours

    def take_in(self, modules: Mapping[str, Any]) -> None:
        """Keep what is in modules that were not there before."""
        with self._lock:
            for owner in owners(modules, self.keeps):
                if owner not in self._before:
                    values = self._before[owner] = dict(vars(owner))
                    self._live.append(table_of(owner))
                    self._flat += values.values()
                    top = package_of(owner)
                    if top in INSIDE or top in self.neighbours:
                        self._inside.take_in(called(owner), values, deep=top in DEEP)

    def begin(self, whose: str, packages: Packages) -> int:
        """Code of another package runs from now on, beside what may run of others already, of which
        it is said what they changed so far; how much that is, for `end`.

        Args:
            whose: in words.
        """
        with self._lock:
            self._open.append(whose)
            self._builtins = self._builtins if self._open[1:] else built_in()
            self._modules = dict(sys.modules) if not self._open[1:] else self._modules
            if self._open[1:]:
                self._lost += self._say(self._open[-2])
                return len(self._lost)
            self._lost = []
            if packages.keys() != self._packages.keys():
                self._packages, self.neighbours = dict(packages), {*packages}
                self._forget()
            if not self._inside.is_same():
                self._forget()
            self._adopt()
            if len(sys.modules) != self._count:
                self._count = len(sys.modules)
                self.take_in(dict(sys.modules))
            self._heard.enter_context(self._arrivals.heard(""))
            return 0

    def _adopt(self) -> None:
        """Take what is there now for what is to be."""
        flat = held_in(self._live)
        if not are_same(flat, self._flat):
            for owner, before in self._before.items():
                if not are_same(vars(owner), before):
                    before.clear()
                    before |= vars(owner)
            self._flat = flat

    def end(self, whose: str, since: int) -> list[str]:
        """It has run; what it changed is put back, and said.

        Args:
            since: what `begin` gave.
        Returns:
            The names of what was changed since it began.
        """
        lost: list[str] = []
        built_in_again(self._builtins, lost)
        for what in lost:
            text = f"{what} was changed by {whose}; it is put back."
            warnings.warn(PutBackWarning(text), stacklevel=4)
        with self._lock:
            if whose in self._open:  # where it was stopped as it began, it is not
                self._open.remove(whose)
            if not self._open:
                self._heard.close()
            self._lost += [*lost, *self._say(whose)]
            return self._lost[since:]

    def _say(self, near: str) -> list[str]:
        """Say what was changed, which is put back, by whose code stands in its place.

        Args:
            near: whose code ran, in words.
        """
        changes = self._changes(near)
        for other, names in changes.items():
            by = f"{other}, beside {near}" if other and other not in near else near
            text = f"what others use ({few(names, MOST)}) was changed by {by}; it is put back."
            warnings.warn(PutBackWarning(text), stacklevel=5)
        return [name for names in changes.values() for name in names]

    def _changes(self, whose: str) -> dict[str, list[str]]:
        """What was changed, by the package whose code stands in its place, which is empty where
        that is not known."""
        changed: dict[str, list[str]] = {}
        here = map(sys.modules.get, self._modules)
        if not all(map(is_, here, self._modules.values())):
            gone = [n for n, one in self._modules.items() if sys.modules.get(n) is not one]
            if lost := [name for name in gone if _stays(name)]:
                sys.modules.update({name: self._modules[name] for name in lost})
                changed[""] = [f"the module {name}" for name in lost]
            self._modules = dict(sys.modules)
        if inside := self._inside.put_back():
            changed.setdefault("", []).extend(inside)
        if not are_same(held_in(self._live), self._flat):
            files: dict[str, set[str]] = {word: set() for word in self._packages.values()}
            for name, module in list(sys.modules.items()):
                word = self._packages.get(name.partition(".")[0])
                if word is not None:
                    files[word] |= files_of({name: module})
            for owner, before in self._before.items():
                self._put_back(owner, before, files, whose, changed)
            self._flat = held_in(self._live)
        return changed

    def _put_back(
        self,
        owner: Owner,
        before: dict[str, Any],
        files: Mapping[str, Set[str]],
        near: str,
        changed: dict[str, list[str]],
    ) -> None:
        now = vars(owner)
        if are_same(now, before):
            return
        top = package_of(owner)
        ours = top in DEEP

        own = self._packages.get(top, "")

        def whose(value: Any) -> str | None:
            others = (word for word in files if word != own)
            return next((word for word in others if is_code_of(files[word], value)), None)

        for name, value in before.items():
            new = now.get(name, NONE)
            kept = is_a(value, CALLED) or (ours and name[:1] != "_")
            if new is value or not kept:
                continue
            lost = not (own and own in near) and not is_a(new, CALLED)
            if (by := whose(new)) or ours or lost:
                set_back(owner, name, value)
                changed.setdefault(by or "", []).append(called(owner, name))
        for name in [name for name in now if name not in before]:
            if (ours or hides(owner, name)) and (by := whose(now[name])):
                take_away(owner, name)
                changed.setdefault(by, []).append(called(owner, name))
        before.clear()
        before |= vars(owner)


def _stays(name: str) -> bool:
    """Whether a module that is another now, or gone, has to be where it was: of torch one that is
    gone, as it puts others in the place of its own."""
    top = name.partition(".")[0]
    if top in MODULES or top in sys.stdlib_module_names:
        return True
    return top == "torch" and name not in sys.modules


_meanwhile = Meanwhile()


@contextmanager
def nothing_replaced(
    whose: Callable[[], str],
    packages: Callable[[], Packages],
    replaced: list[str] | None = None,
) -> Iterator[None]:
    """See that what runs are made with is afterwards what it was; what is not is put back, and
    said.

    Args:
        whose: in words, who may have changed it.
        packages: of plugins that are installed.
        replaced: takes the names of what was put back.
    """
    near = whose()
    theirs = packages()
    unadded: list[str] = []
    since = 0
    try:
        since = _meanwhile.begin(near, theirs)
        with unheard(unadded):
            yield
    finally:
        names = _meanwhile.end(near, since)
        if replaced is not None:
            replaced += names
        for what in unadded[:1]:
            warnings.warn(LdmWarning(f"{near} would have changed {what}."), stacklevel=3)
