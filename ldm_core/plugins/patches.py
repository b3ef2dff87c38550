"""What a plugin module puts into modules that come with it, such as torch, is noticed.

What it stands for is not known then: it can be told, and not be put back, but where a class has its
method from one above that is written in C, and where our module can be imported anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Set
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from ldm_core.plugins.contents import OURS, Owner, called, few, files_of, owners

PYTHON = (FunctionType, staticmethod, classmethod, property)
ALL_OURS = OURS | {"ldm_core"}


def put_back(package: str, before: Set[str], changed: list[str], left: list[str]) -> None:
    """Have the modules that came with a plugin module as they are by themselves, as far as that can
    be, and say what was not.

    Args:
        package: of the plugin module, the name before the first dot.
        before: names of the modules that were there before it.
        changed: takes what was put back.
        left: takes what was not.
    """
    new = {name: sys.modules[name] for name in sys.modules.keys() - before}
    false = [name for name, module in new.items() if _is_false(name, module)]
    if false:
        _forget(false)
        changed.append(f"modules of ours that are none ({few(false)})")
    back, others, ours = [], [], set()
    kept = {n: m for n, m in new.items() if n not in false and n.partition(".")[0] != package}
    files = files_of(package) if kept else ()
    for owner in owners(kept):
        for name, value in list(vars(owner).items()):
            if not _is_of(files, value):
                continue
            home = owner.__module__ if isinstance(owner, type) else owner.__name__
            above = _above(owner, name)
            if above is not None and above not in PYTHON:
                type.__delattr__(owner, name)
            elif home.partition(".")[0] in OURS:
                ours.add(home)
            else:
                others.append(called(owner, name))
                continue
            back.append(called(owner, name))
    _forget(sorted(ours))
    for names, lists in ((back, changed), (others, left)):
        if names:
            lists.append(f"what others use ({few(names)})")


def _is_false(name: str, module: Any) -> bool:
    """Whether a module has a name of ours, and none of our files."""
    top, inner, _ = name.partition(".")
    if top not in ALL_OURS or not inner:
        return False
    home = vars(sys.modules[top]).get("__path__", ()) if top in sys.modules else ()
    file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    if file is None and isinstance(module, ModuleType):  # as of one that had another name once
        return vars(module).get("__spec__") is None
    return not any(Path(str(file)).is_relative_to(folder) for folder in home)


def _forget(names: list[str]) -> None:
    """Have modules of ours imported anew when they are next needed."""
    for name in names:
        sys.modules.pop(name, None)
        package, _, last = name.rpartition(".")
        if package in sys.modules:
            vars(sys.modules[package]).pop(last, None)


def _above(owner: Owner, name: str) -> type | None:
    """The kind of what a class has from one above where it does not say it; None for nothing."""
    above = owner.__mro__[1:] if isinstance(owner, type) else ()
    return next((type(vars(one)[name]) for one in above if name in vars(one)), None)


def _functions(value: Any) -> Iterator[Any]:
    if isinstance(value, staticmethod | classmethod):
        yield value.__func__
    elif isinstance(value, property):
        yield value.fget
    else:
        yield value


def _is_of(files: tuple[str, ...], value: Any) -> bool:
    """Whether that is code of these files."""
    return any(
        isinstance(function, FunctionType) and function.__code__.co_filename in files
        for function in _functions(value)
    )
