"""What is in modules and classes that several packages use, kept while plugin modules are imported.

Of the packages that list plugins all is kept. Of Python's others, of our plugins and of what
networks, files and commands are made with, what can be called is kept: a library may well keep a
value of its own there that changes.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

KEPT = frozenset({"builtins", "io", "json", "ldm_core", "os", "pathlib", "pluggy", "time"})
"""Packages that list plugins, and what those do it with."""
OURS = frozenset({"ldm_plugins", "ldm_pipelines"})
"""Our other packages."""
USED = frozenset(
    {"PIL", "click", "diffusers", "numpy", "pydantic", "rich", "safetensors", "transformers"}
    | {"typer", *OURS}
)
"""Packages that runs and commands are made with, beside Python's own and torch."""
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
NONE = object()
BUILTINS = vars(builtins)
Owner = Any
"""A module, or a class."""


class Contents:
    """What was in them when this was made."""

    def __init__(self) -> None:
        self._builtins = dict(BUILTINS)
        self._before = {owner: dict(vars(owner)) for owner in owners(sys.modules)}
        self._live = [vars(owner) for owner in self._before]
        self._befores = list(self._before.values())

    @contextmanager
    def builtins_kept(self, changed: list[str]) -> Iterator[None]:
        """Meanwhile they may be replaced, with which nothing else can be put back."""
        try:
            yield
        finally:  # no name of a builtin stands here
            now, before = BUILTINS, self._builtins
            names = [name for name in before if name not in now or now[name] is not before[name]]
            now |= before
            if names:
                changed.append(f"what others use (builtins.{few(names)})")

    def put_back(self, package: str, changed: list[str]) -> None:
        """Have them as they were, and say what was not.

        Args:
            package: of the plugin module, the name before the first dot.
            changed: takes what was put back.
        """
        if _are_same(self._live, self._befores):  # in one go, as it is at nearly each import
            return
        files = files_of(package)
        replaced: list[str] = []
        torchs: list[str] = []
        for owner, before in self._before.items():
            now = vars(owner)
            if _are_same(now, before):
                continue
            whole, ours = _package(owner) in KEPT, _package(owner) in OURS
            for name, value in before.items():
                new = now.get(name, NONE)
                if new is value or not (
                    whole or isinstance(value, CALLED) or (ours and callable(value))
                ):
                    continue
                if whole or not _is_of_a_library(new, files):
                    set_back(owner, name, value)
                    names = torchs if _package(owner) == "torch" else replaced
                    names.append(called(owner, name))
            if isinstance(owner, type):
                (torchs if _package(owner) == "torch" else replaced).extend(_hiding(owner, before))
            before.clear()  # what came, such as a module in its package, is no change next time
            before |= vars(owner)
        if replaced:
            changed.append(f"what others use ({few(replaced)})")
        if torchs:
            changed.append(f"torch's own {few(torchs)}")


def _are_same(now: Any, before: Any) -> bool:
    try:
        return bool(now == before)
    except Exception:  # of what does not like to be compared
        return False


def files_of(package: str) -> tuple[str, ...]:
    """The files of a package that are imported."""
    modules = [m for n, m in list(sys.modules.items()) if n.partition(".")[0] == package]
    files = [vars(m).get("__file__") for m in modules if isinstance(m, ModuleType)]
    return tuple(str(file) for file in files if file)


def _is_of_a_library(value: Any, files: tuple[str, ...]) -> bool:
    """Whether that is code of other files than these, as where torch, which is imported now, has a
    function of its own in the place of one of Python's."""
    return isinstance(value, FunctionType) and value.__code__.co_filename not in files


def owners(modules: Mapping[str, Any]) -> Iterator[Owner]:
    """Those modules that are kept, and their own classes."""
    for name, module in list(modules.items()):
        if not isinstance(module, ModuleType) or not _is_kept(name):
            continue
        yield module
        for value in list(vars(module).values()):
            if (
                isinstance(value, type)
                and not value.__flags__ & IMMUTABLE
                and _home(value) == vars(module).get("__name__")
            ):
                yield value


def called(owner: Owner, name: str) -> str:
    """How that is called in a message."""
    if isinstance(owner, ModuleType):
        return f"{owner.__name__}.{name}"
    return f"{_home(owner)}.{owner.__qualname__}.{name}"


def few(names: list[str]) -> str:
    """The first names of several, and how many more there are."""
    more = f" and {len(names) - FEW} others" if len(names) > FEW else ""
    return ", ".join(sorted(names)[:FEW]) + more


def set_back(owner: Owner, name: str, value: Any) -> None:
    """Put a value where it was, whatever a class makes of that."""
    if isinstance(owner, type):
        type.__setattr__(owner, name, value)
    else:
        owner.__dict__[name] = value


def _hiding(owner: type, before: Mapping[str, Any]) -> Iterator[str]:
    """Names that a class did not have and one above has, which are taken away."""
    for name in [name for name in vars(owner) if name not in before]:
        above = (vars(one)[name] for one in owner.__mro__[1:] if name in vars(one))
        if isinstance(next(above, None), CALLED):
            type.__delattr__(owner, name)
            yield called(owner, name)


def _is_kept(name: str) -> bool:
    top = name.partition(".")[0]
    if top == "torch":
        return name in TORCH or name.startswith(LAYERS)
    return top in KEPT or top in USED or top in sys.stdlib_module_names


def _package(owner: Owner) -> str:
    name = _home(owner) if isinstance(owner, type) else vars(owner).get("__name__")
    return str(name).partition(".")[0]


def _home(owner: type) -> Any:
    """The module that a class says it is from."""
    return vars(owner).get("__module__")
