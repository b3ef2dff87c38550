"""How Python looks for modules, kept as it was while plugin modules are imported."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from typing import Any

from ldm_core.machine import asked_to_stop
from ldm_core.plugins.looked_at import are_identical

NOBODYS = "ldm_core_module_of_nobody"
"""A module's name that no finder knows."""


class Lookup:
    """The folders that modules are looked for in, and the finders that are asked, as they were when
    this was made. What a module adds comes behind them, so that it finds what nobody else does."""

    def __init__(self) -> None:
        self._path, self._finders = list(sys.path), list(sys.meta_path)
        self._hooks = list(sys.path_hooks)

    def put_back(self, changed: list[str]) -> None:
        """Have them as they were, and say what was not."""
        added = [p for p in sys.path if type(p) is str and not _is_in(p, self._path)]
        if not are_identical(sys.path, [*self._path, *added]):
            changed.append("where modules are looked for first")
            sys.path[:] = [*self._path, *added]
        if not are_identical(sys.path_hooks, self._hooks):
            changed.append("how folders are read for modules")
            sys.path_hooks[:] = self._hooks
            sys.path_importer_cache.clear()
        finders = [finder for finder in sys.meta_path if not _is_in(finder, self._finders)]
        sound = [finder for finder in finders if _is_sound(finder)]
        if not are_identical(sys.meta_path, [*self._finders, *sound]):
            changed.append("how modules are looked for")
            sys.meta_path[:] = [*self._finders, *sound]


def _is_sound(finder: Any) -> bool:
    """Whether a finder says of a module that it does not have it, and does not fail."""
    try:
        spec: ModuleSpec | None = finder.find_spec(NOBODYS, None, None)
    except BaseException as error:  # even an end of the program
        if asked_to_stop(error):
            raise
        return False
    return spec is None


def _is_in(value: Any, several: list[Any]) -> bool:
    return any(are_identical(value, one) for one in several)
