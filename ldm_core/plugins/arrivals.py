"""The modules that come while a plugin module is imported: each is what Python imports of that
name, and what is in it is known before the plugin module can change it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from functools import partial
from importlib.machinery import (
    ExtensionFileLoader,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from operator import is_
from types import ModuleType
from typing import Any, Protocol

from ldm_core.plugins.contents import KEPT, NONE, OURS, USED
from ldm_core.plugins.looked_at import is_a
from ldm_core.plugins.moved import is_moved
from ldm_core.plugins.ownership import found

FILES = (SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader)
"""What reads a module of a file, one for each module."""
FROZEN = "frozen"
"""Where Python has the modules from that it holds itself."""
COMPILED = frozenset({"numpy", "torch"})
"""Packages that a process can import once alone, for what they are compiled of."""
MORE = {"accelerate", "huggingface_hub", "peft", "tokenizers", "torchao"}
NAMED = (KEPT | USED | COMPILED | MORE) - sys.stdlib_module_names
"""Packages in whose place no module of another may stand, beside those of plugins."""


class Keeps(Protocol):
    """Keeps what is in modules."""

    neighbours: Set[str]
    """Top-level modules of plugin packages."""

    def keeps(self, name: str) -> bool:
        """Whether it does of that module."""

    def take_in(self, modules: Mapping[str, Any]) -> None:
        """Keep what is in modules that were not there before."""


class Arrivals:
    """Stands before Python's own finders while a plugin module is imported, and hears of each
    module that is kept once it has come and whoever asked for it goes on.

    Args:
        contents: says what is kept, and takes in what is in it.

    Attributes:
        filters: of warnings, which came with such modules.
    """

    def __init__(self, contents: Keeps) -> None:
        self._contents = contents
        self._package = ""
        self._depth = 0
        self._come: dict[str, ModuleType] = {}
        self.filters: list[Any] = []

    @contextmanager
    def heard(self, package: str) -> Iterator[None]:
        """Meanwhile modules are imported.

        Args:
            package: of the plugin module, whose own modules are its own affair.
        """
        self._come.clear()
        self._package = package
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            with suppress(ValueError):
                sys.meta_path.remove(self)

    @contextmanager
    def not_heard(self) -> Iterator[None]:
        """Meanwhile this is no finder, until it is the first again."""
        with suppress(ValueError):
            sys.meta_path.remove(self)
        try:
            yield
        finally:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As Python's own finder of files, for what is kept; for the plugin module what was found
        as its owner was looked for; nothing for others."""
        top = _top(name)
        if top == self._package:
            return found(name)
        if not (top in NAMED or self._contents.keeps(name)):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, FILES):
            own, run = vars(spec.loader), spec.loader.exec_module
            of_plugins = top in self._contents.neighbours
            own["exec_module"] = partial(self._come_by, name, own, run, of_plugins)
        return spec

    def _come_by(
        self,
        name: str,
        own: dict[str, Any],
        run: Callable[[ModuleType], None],
        of_plugins: bool,
        module: ModuleType,
    ) -> None:
        """Import a module. What a library puts beside it meanwhile is that library's; the code of a
        plugin package goes on after each that it imports."""
        own.pop("exec_module", None)
        if of_plugins:
            run(module)
            come = {name: sys.modules.get(name, module)}  # it may have put another there
            self._come |= come
            self._contents.take_in(come)
            return
        self._depth += 1
        before, filters = {*sys.modules}, [*warnings.filters]
        try:
            run(module)
        finally:
            self._depth -= 1
            if not self._depth:
                self.filters += [one for one in warnings.filters if one not in filters]
                new = sys.modules.keys() - before
                come = {one: sys.modules[one] for one in [name, *new] if one in sys.modules}
                self._come |= come
                self._contents.take_in(come)

    def put_back(self, before: Mapping[str, ModuleType]) -> list[str]:
        """Have no module that is not what Python would import of its name, nor any that came with
        it and may hold it; what was not so.

        Args:
            before: the modules that were there.
        """
        package = self._package
        come, whole = come_since(before)
        new = [name for name in come if _top(name) != package]
        false = [name for name in new if not self._is_true(name, sys.modules[name])]
        replaced = []
        if not whole:
            replaced = [name for name, module in before.items() if self._takes(name, module)]
            replaced = [name for name in replaced if _top(name) != package]
        if false:
            self._forget(false, before)
        for name in replaced:
            sys.modules[name] = before[name]
        return sorted({*false, *replaced})

    def _takes(self, name: str, module: ModuleType) -> bool:
        """Whether another module stands in the place of one that is named."""
        named = _top(name) in NAMED or _top(name) in self._contents.neighbours
        return named and sys.modules.get(name, module) is not module

    def _is_true(self, name: str, module: Any) -> bool:
        """Whether a module is Python's own of its name, or Python has none of it."""
        if module is self._come.get(name, NONE) or is_moved(name, module):
            return True
        top, inner, _ = name.partition(".")
        if top not in NAMED and top not in self._contents.neighbours:
            return True
        spec = vars(module).get("__spec__") if is_a(module, ModuleType) else None
        if is_a(spec, ModuleSpec) and spec.name == name and spec.origin == FROZEN:
            return True
        parent = sys.modules.get(name.rpartition(".")[0])
        path = vars(parent).get("__path__") if is_a(parent, ModuleType) else None
        place = PathFinder.find_spec(name, path) if path or not inner else None
        if place is None or place.origin is None:  # nothing, or a folder of other files
            return top not in OURS | {"ldm_core"}
        return place.origin == _file(module)

    def _forget(self, false: Sequence[str], before: Mapping[str, Any]) -> None:
        """Have them, and what came with them, imported anew when it is next needed; but for what
        is compiled and true."""
        for name, module in list(sys.modules.items()):
            top = _top(name)
            if name in before or top == self._package or top in sys.stdlib_module_names:
                continue
            if name in false or top not in COMPILED:
                del sys.modules[name]
                parent, _, last = name.rpartition(".")
                there = sys.modules.get(parent)
                if is_a(there, ModuleType) and vars(there).get(last) is module:
                    del vars(there)[last]
        for name in false:
            if name in self._come:
                sys.modules[name] = self._come[name]


def come_since(before: Mapping[str, ModuleType]) -> tuple[list[str], bool]:
    """The names of the modules that were not there, and whether those that were still stand where
    they stood, as they nearly always do."""
    there = len(before)
    names = [*sys.modules]
    whole = names[:there] == [*before] and all(map(is_, sys.modules.values(), before.values()))
    return (names[there:] if whole else [n for n in names if n not in before]), whole


def _top(name: str) -> str:
    return name.partition(".")[0]


def _file(module: Any) -> str | None:
    file = vars(module).get("__file__") if is_a(module, ModuleType) else None
    return file if is_a(file, str) else None
