"""The checks of plugins, a file a kind."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ldm_core.conformance.checks import CHECKS, Check


def checks_of_kind(kind: str) -> tuple[Check, ...]:
    """Those of a kind, in the order of its files; none where a kind has none. Imports torch."""
    _load()
    return tuple(sorted(CHECKS.get(kind, ()), key=_place))


def _place(check: Check) -> tuple[str, int]:
    function = check.function
    return function.__module__, function.__code__.co_firstlineno


@cache
def _load() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
