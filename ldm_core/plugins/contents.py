"""What is in modules and classes that several packages use, kept while plugin modules are imported.

Of the packages that list plugins all is kept. Of Python's others, of our plugins, of the packages
of other plugins and of what networks, files and commands are made with, what can be called is kept:
a library may well keep a value of its own there that changes.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from gc import get_referents
from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from ldm_core.plugins.inside import Inside
from ldm_core.plugins.looked_at import are_same, are_told_apart, is_a

KEPT = frozenset({"builtins", "io", "json", "ldm_core", "os", "pathlib", "pluggy", "time"})
"""Packages that list plugins, and what those do it with."""
OURS = frozenset({"ldm_plugins", "ldm_pipelines"})
"""Our other packages."""
USED = frozenset(
    {"PIL", "click", "diffusers", "numpy", "pydantic", "rich", "safetensors", "transformers"}
    | {"typer", *OURS}
)
"""Packages that runs and commands are made with, beside Python's own and torch."""
APART = frozenset(
    {"_ast", "_socket", "ast", "calendar", "csv", "dis", "email", "ipaddress", "opcode", "socket"}
    | {"token", "tokenize", "zipfile"}
)
"""Packages of Python's by which metadata, addresses and sources are read: no run goes by them."""
INSIDE = KEPT | OURS | {"diffusers", "torch"}
"""Packages of which it is also kept what functions are inside."""
DEEP = OURS | {"ldm_core"}
"""And what tables hold."""
TORCH = ("torch", "torch.nn.functional", "torch.nn.init", "torch.linalg", "torch._tensor")
"""Modules of torch whose functions and classes networks call, beside those of its layers."""
LAYERS = "torch.nn.modules"
IMMUTABLE = 1 << 8
"""The flag of classes of which nobody can set anything, as those that are built in."""
CALLED = (
    *(FunctionType, BuiltinFunctionType, MethodType, type, staticmethod, classmethod, property),
    *(MethodDescriptorType, WrapperDescriptorType),
)
"""What can be called, or is found by a class when it is."""
FEW = 3
MOST = 100
"""Functions in a function that are looked at."""
NONE = object()
_BUILT_IN = vars(builtins)
Owner = Any
"""A module, or a class."""


class Contents:
    """What was in them when this was made.

    Args:
        neighbours: top-level modules of plugin packages, what can be called of which is kept too.
    """

    def __init__(self, neighbours: Set[str] = frozenset()) -> None:
        self.neighbours = neighbours
        self._builtins = built_in()
        self._before: dict[Owner, dict[str, Any]] = {}
        self._inside = Inside()
        self._live: list[dict[str, Any]] = []
        self._flat: list[Any] = []
        self.take_in(sys.modules)

    def keeps(self, name: str) -> bool:
        """Whether what is in a module is kept."""
        return is_kept(name, self.neighbours)

    def take_in(self, modules: Mapping[str, Any]) -> None:
        """Keep what is in modules that were not there before."""
        for owner in owners(modules, self.keeps):
            if owner not in self._before:
                values = dict(vars(owner))
                self._before[owner] = values
                self._live.append(table_of(owner))
                self._flat += values.values()
                if isinstance(owner, ModuleType):
                    self._inside.take_kind(owner)
                top = package_of(owner)
                if top in INSIDE or top in self.neighbours:
                    self._inside.take_in(called(owner), values, deep=top in DEEP)

    @contextmanager
    def builtins_kept(self, changed: list[str]) -> Iterator[None]:
        """Meanwhile they may be replaced, with which nothing else can be put back."""
        try:
            yield
        finally:
            built_in_again(self._builtins, changed)
            changed.extend(self._inside.kinds_again())

    def put_back(self, package: str, changed: list[str], *, late: bool = False) -> None:
        """Have them as they were, and say what was not.

        Args:
            package: of the plugin module, the name before the first dot.
            changed: takes what was put back.
            late: we went on meanwhile, whose own state changes: names with a line before them.
        """
        replaced = self._inside.put_back()
        torchs: list[str] = []
        if not are_same(held_in(self._live), self._flat):
            there = list(sys.modules.items())
            files = files_of({name: m for name, m in there if name.partition(".")[0] == package})
            for owner, before in self._before.items():
                if are_same(vars(owner), before):
                    continue
                top = package_of(owner)
                if late and top not in KEPT | OURS | self.neighbours:
                    continue
                whole = top in KEPT and not late
                self._put_back(owner, before, package, files, whole, replaced, torchs)
            self._flat = held_in(self._live)
        if replaced:
            changed.append(f"what others use ({few(replaced)})")
        if torchs:
            changed.append(f"torch's own {few(torchs)}")

    def _put_back(
        self,
        owner: Owner,
        before: dict[str, Any],
        package: str,
        files: Set[str],
        whole: bool,
        replaced: list[str],
        torchs: list[str],
    ) -> None:
        now, top = vars(owner), package_of(owner)
        if top == package:
            return
        names = torchs if top == "torch" else replaced
        ours = top in OURS
        for name, value in before.items():
            new = now.get(name, NONE)
            public = top == "ldm_core" and name[:1] != "_"
            kept = whole or public or is_a(value, CALLED) or (ours and callable(value))
            if new is value or not kept:
                continue
            if whole or public or not self._is_of_a_library(new, files):
                set_back(owner, name, value)
                names.append(called(owner, name))
        for name in [name for name in now if name not in before]:
            if hides(owner, name) or ((whole or ours) and is_code_of(files, now[name])):
                take_away(owner, name)
                names.append(called(owner, name))
        before.clear()  # what came, such as a module in its package, is no change next time
        before |= vars(owner)

    def _is_of_a_library(self, value: Any, files: Set[str]) -> bool:
        """Whether that is code that came, of other files than these, as where torch, which is
        imported now, has a function of its own in the place of one of Python's."""
        if type(value) is not FunctionType or is_code_of(files, value):
            return False
        return id(value) not in map(id, self._flat)


def built_in() -> dict[str, Any]:
    """What is built in now."""
    return dict(_BUILT_IN)


def built_in_again(before: dict[str, Any], changed: list[str]) -> None:
    """Have that built in which was, and say what was not; no name of a builtin stands here."""
    now = _BUILT_IN
    names = [name for name in before if name not in now or now[name] is not before[name]]
    now |= before
    if names:
        changed.append(f"what others use (builtins.{few(names)})")


def table_of(owner: Owner) -> dict[str, Any]:
    """What a module or a class keeps its names in, itself."""
    names: Any = vars(owner)  # of a class it only shows it
    return names if type(names) is dict else get_referents(names)[0]


def held_in(tables: Sequence[dict[str, Any]]) -> list[Any]:
    """The values of several tables, in their order, read in one go where Python goes through them
    itself: there are many thousands, and they are compared after each package."""
    return get_referents(*tables)


def files_of(modules: Mapping[str, Any]) -> Set[str]:
    """The files of modules."""
    files = [vars(m).get("__file__") for m in modules.values() if is_a(m, ModuleType)]
    return {str(file) for file in files if file}


def is_code_of(files: Set[str], value: Any) -> bool:
    """Whether that is a function of these files, or holds one as a method does, or what a decorator
    of others made of it."""
    held = {staticmethod: "__func__", classmethod: "__func__", property: "fget"}
    if type(value) in held:
        value = value.fget if isinstance(value, property) else value.__func__
    if type(value) is not FunctionType:
        return False
    return any(one.__code__.co_filename in files for one in _functions_in(value))


def _functions_in(function: FunctionType) -> Iterator[FunctionType]:
    """A function, and those that it closes over, wraps or takes by default."""
    seen, due = {function}, [function]
    while due and len(seen) < MOST:
        one = due.pop()
        yield one
        holders = [one.__dict__, *(one.__closure__ or ()), one.__defaults__]
        within = {held for held in get_referents(*holders) if type(held) is FunctionType}
        due += within - seen
        seen |= within


def owners(modules: Mapping[str, Any], keeps: Callable[[str], bool]) -> Iterator[Owner]:
    """Those modules that are kept, and their own classes."""
    for name, module in list(modules.items()):
        if not is_a(module, ModuleType) or not keeps(name):
            continue
        yield module
        for value in list(vars(module).values()):
            if (
                is_a(value, type)
                and are_told_apart(type(value))
                and not value.__flags__ & IMMUTABLE
                and _home(value) == vars(module).get("__name__")
            ):
                yield value


def called(owner: Owner, name: str = "") -> str:
    """How a module or class is called in a message, or what it has under a name."""
    whole = isinstance(owner, ModuleType)
    home = owner.__name__ if whole else f"{_home(owner)}.{owner.__qualname__}"
    return f"{home}.{name}" if name else str(home)


def few(names: list[str], most: int = FEW) -> str:
    """The first names of several, and how many more there are."""
    more = f" and {len(names) - most} others" if len(names) > most else ""
    return ", ".join(sorted(names)[:most]) + more


def set_back(owner: Owner, name: str, value: Any) -> None:
    """Put a value where it was, whatever a class makes of that."""
    if isinstance(owner, type):
        type.__setattr__(owner, name, value)
    else:
        owner.__dict__[name] = value


def take_away(owner: Owner, name: str) -> None:
    """Have a name no longer in a module or class, whatever a class makes of that."""
    if isinstance(owner, type):
        type.__delattr__(owner, name)
    else:
        del owner.__dict__[name]


def hides(owner: Owner, name: str) -> bool:
    """Whether a new name in a module hides what is built in, or in a class a method of one above,
    by which it is called from then on."""
    if not isinstance(owner, type):
        return name in _BUILT_IN and name[:2] != "__"
    above = (vars(one)[name] for one in owner.__mro__[1:] if name in vars(one))
    return is_a(next(above, None), CALLED)


def is_kept(name: str, neighbours: Set[str] = frozenset()) -> bool:
    """Whether what is in a module is kept."""
    top = name.partition(".")[0]
    if top == "torch":
        return name in TORCH or name.startswith(LAYERS)
    if top in KEPT or top in USED or top in neighbours:
        return True
    return top in sys.stdlib_module_names and top not in APART


def package_of(owner: Owner) -> str:
    name = _home(owner) if isinstance(owner, type) else vars(owner).get("__name__")
    return str(name).partition(".")[0]


def _home(owner: type) -> Any:
    """The module that a class says it is from."""
    return vars(owner).get("__module__")
