"""What functions and tables are inside, which can be changed where they stand: no name means
another thing then, and yet all is computed otherwise."""

from __future__ import annotations

import copy
import copyreg
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from ldm_core.plugins.looked_at import are_same

COPIES: Mapping[str, dict[Any, Any]] = {
    "copyreg.dispatch_table": copyreg.dispatch_table,
    "copy._copy_dispatch": vars(copy)["_copy_dispatch"],
    "copy._deepcopy_dispatch": vars(copy)["_deepcopy_dispatch"],
}
"""Tables of Python's that say how things are copied."""
HOLDERS = (staticmethod, classmethod, property)
"""What holds a function in a class."""
Table = dict[Any, Any] | set[Any] | list[Any]


class Inside:
    """The code of functions, and what the tables of our modules hold."""

    def __init__(self) -> None:
        self._functions: list[FunctionType] = []
        self._codes: list[Any] = []
        self._modules: list[Any] = []
        self._kinds: list[type] = []
        self._deep: list[FunctionType] = []
        self._defaults: tuple[list[Any], list[Any]] = ([], [])
        self._tables: list[tuple[str, Table]] = []
        self._held: list[Table] = []
        for name, table in COPIES.items():
            self._take_table(name, table)

    def take_in(self, home: str, values: Mapping[str, Any], *, deep: bool) -> None:
        """Keep what is inside of what a module or class holds.

        Args:
            home: how that is called.
            deep: it is one of ours, of which what functions take by default and public tables are
                kept too.
        """
        functions = [one for one in values.values() if type(one) is FunctionType]
        held = [_function(one) for one in values.values() if type(one) in HOLDERS]
        functions += [one for one in held if one is not None]
        self._functions += functions
        self._codes += [one.__code__ for one in functions]
        if not deep:
            return
        self._deep += functions
        self._defaults[0].extend(one.__defaults__ for one in functions)
        named = (one.__kwdefaults__ for one in functions)
        self._defaults[1].extend(None if one is None else dict(one) for one in named)
        for name, value in values.items():
            if type(value) in (dict, set, list) and name[:1] != "_":
                self._take_table(f"{home}.{name}", value)

    def _take_table(self, name: str, table: Table) -> None:
        """Keep what a table holds."""
        self._tables.append((name, table))
        self._held.append(table.copy())

    def take_kind(self, module: Any) -> None:
        """Keep of which class a module is, by which all is found in it."""
        self._modules.append(module)
        self._kinds.append(type(module))

    def kinds_again(self) -> list[str]:
        """Have modules of the classes that they were of, without which nothing can be found in
        them; what was not."""
        if [*map(type, self._modules)] == self._kinds:
            return []
        pairs = zip(self._modules, self._kinds, strict=True)
        other = [(module, kind) for module, kind in pairs if type(module) is not kind]
        for module, kind in other:
            object.__setattr__(module, "__class__", kind)
        return [f"the class of {module.__name__}" for module, _ in other]

    def is_same(self) -> bool:
        """Whether all is as it was, but for what came into tables."""
        return (
            [one.__code__ for one in self._functions] == self._codes
            and are_same(_defaults_of(self._deep), self._defaults)
            and are_same([table for _, table in self._tables], self._held)
        )

    def put_back(self) -> list[str]:
        """Have all as it was; what was not."""
        names = []
        if [one.__code__ for one in self._functions] != self._codes:
            for one, code in zip(self._functions, self._codes, strict=True):
                if one.__code__ is not code:
                    one.__code__ = code
                    names.append(f"the code of {one.__module__}.{one.__qualname__}")
        if not are_same(_defaults_of(self._deep), self._defaults):
            for one, usual, named in zip(self._deep, *self._defaults, strict=True):
                if not are_same((one.__defaults__, one.__kwdefaults__), (usual, named)):
                    one.__defaults__ = usual
                    one.__kwdefaults__ = None if named is None else dict(named)
                    names.append(f"what {one.__module__}.{one.__qualname__} takes by default")
        if not are_same([table for _, table in self._tables], self._held):
            for place, ((name, table), held) in enumerate(
                zip(self._tables, self._held, strict=True)
            ):
                if _lacks(table, held):
                    _fill(table, held)
                    names.append(f"what {name} holds")
                self._held[place] = table.copy()
        return names


def _function(value: Any) -> FunctionType | None:
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    return value if isinstance(value, FunctionType) else None


def _defaults_of(functions: list[FunctionType]) -> tuple[list[Any], list[Any]]:
    return [one.__defaults__ for one in functions], [one.__kwdefaults__ for one in functions]


def _lacks(table: Table, held: Table) -> bool:
    """Whether what a table held is gone or another; what came beside it is no harm."""
    if isinstance(table, dict) and isinstance(held, dict):
        return any(key not in table or table[key] is not one for key, one in held.items())
    if isinstance(table, set) and isinstance(held, set):
        return not held <= table
    return not are_same(list(table)[: len(held)], held)


def _fill(table: Table, held: Table) -> None:
    """Have what a table held in it again."""
    if isinstance(table, list):
        table[:] = held
    else:
        table.update(held)
