"""What plugin modules put in the place of torch's own methods and functions is noticed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

MODULES = ("torch", "torch.nn.functional", "torch.nn.init", "torch.linalg")
"""Whose functions networks call."""
CLASSES = ("torch", "torch._tensor", "torch.nn.modules")
"""Modules, and those beneath the last, whose classes networks are made of."""
FEW = 3
PYTHON = (FunctionType, staticmethod, classmethod, property)
Owner = Any
"""A module, or a class."""


class Patches:
    """Torch's methods and functions as they were when this was made; it is not imported for it.

    Where torch came with the plugin module itself, code of the plugin's own files is found in it.
    What that stands for is not known then: it can be told, and not be put back, but where a class
    of Python's has its method from one that is written in C.
    """

    def __init__(self) -> None:
        self._before = dict(_all()) if "torch" in sys.modules else None

    def put_back(self, package: str, changed: list[str], left: list[str]) -> None:
        """Have them as they were as far as that can be, and say what was not.

        Args:
            package: of the plugin module, the name before the first dot.
            changed: takes what was put back.
            left: takes what was not.
        """
        if "torch" not in sys.modules:
            return
        files = _files(package)
        back, others = [], []
        for (owner, name), value in list(_all()):
            if not _is_of(files, value):
                continue
            known = None if self._before is None else self._before.get((owner, name))
            if known is value:  # of a plugin before, which was told
                continue
            above = _above(owner, name)
            if known is not None:
                _set(owner, name, known)
            elif above is not None and not (self._before is None and above in PYTHON):
                type.__delattr__(owner, name)
            elif self._before is not None:  # what is added stands in nobody's way
                continue
            else:
                others.append(_called(owner, name))
                continue
            back.append(_called(owner, name))
        for names, lists in ((back, changed), (others, left)):
            if names:
                rest = ", ..." if len(names) > FEW else ""
                lists.append(f"torch's own {', '.join(sorted(names)[:FEW])}{rest}")


def _files(package: str) -> tuple[str, ...]:
    """The files of a package that are imported."""
    modules = [m for n, m in list(sys.modules.items()) if n.partition(".")[0] == package]
    return tuple(str(m.__file__) for m in modules if isinstance(m, ModuleType) and m.__file__)


def _above(owner: Owner, name: str) -> type | None:
    """The kind of what a class has from one above where it does not say it; None for nothing."""
    above = owner.__mro__[1:] if isinstance(owner, type) else ()
    return next((type(vars(one)[name]) for one in above if name in vars(one)), None)


def _all() -> Iterator[tuple[tuple[Owner, str], Any]]:
    for owner in _owners():
        for name, value in list(vars(owner).items()):
            if callable(value) or isinstance(value, staticmethod | classmethod | property):
                yield (owner, name), value


def _owners() -> Iterator[Owner]:
    """Modules and classes of torch that are imported."""
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or name.partition(".")[0] != "torch":
            continue
        if name in MODULES:
            yield module
        if name in CLASSES[:2] or name.startswith(CLASSES[2]):
            for value in list(vars(module).values()):
                own = isinstance(value, type) and value.__module__.partition(".")[0] == "torch"
                if own and id(value) not in seen:
                    seen.add(id(value))
                    yield value


def _is_of(files: tuple[str, ...], value: Any) -> bool:
    """Whether that is code of these files."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    return isinstance(value, FunctionType) and value.__code__.co_filename in files


def _set(owner: Owner, name: str, value: Any) -> None:
    if isinstance(owner, type):
        type.__setattr__(owner, name, value)
    else:
        ModuleType.__setattr__(owner, name, value)


def _called(owner: Owner, name: str) -> str:
    module = owner.__module__ if isinstance(owner, type) else ""
    inner = f"{module}.{owner.__qualname__}" if module else owner.__name__
    return f"{inner}.{name}"
