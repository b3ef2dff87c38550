"""A folder on this process's path in which packages come and go, as an environment's does between
two runs of a program."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from ldm_core.plugins.discovery import once
from packages import install


class Site:
    """Made by `site_in`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(
        self,
        name: str = "",
        version: str = "1.0",
        modules: Mapping[str, str] | None = None,
        entry_points: Mapping[str, str] | None = None,
        folders: Mapping[str, Path] | None = None,
    ) -> None:
        """Have one package installed in the place of all that was; none where it has no name.

        Args:
            entry_points: of the group ``ldm``.
            folders: by their path in the site, copied from elsewhere.
        """
        modules_there = {path.name for path in self.root.iterdir()}
        shutil.rmtree(self.root)
        self.root.mkdir()
        if name:
            install(self.root, name, version, modules, {"ldm": entry_points or {}})
        for path, folder in (folders or {}).items():
            shutil.copytree(folder, self.root / path)
        for module in [m for m in sys.modules if m.partition(".")[0] in modules_there]:
            del sys.modules[module]
        importlib.invalidate_caches()
        once.cache_clear()


@contextmanager
def site_in(root: Path) -> Iterator[Site]:
    """An empty site; nothing is left of it in this process."""
    root.mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(root)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # releases follow within a second
        site = Site(root)
        yield site
        site.has()
