"""Packages that offer plugins, by the metadata that they are installed with."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Any

from ldm_core.conformance.shipped import CERTIFICATE
from ldm_core.plugins.ownership import GROUP


@dataclass(frozen=True)
class Package:
    """A distribution with entry points of the group ``ldm``.

    Attributes:
        roots: where its modules lie, of one that is not on Python's path.
    """

    name: str
    version: str
    distribution: Distribution
    entries: tuple[EntryPoint, ...]
    roots: tuple[Path, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """Those that its entry points name."""
        return tuple(entry.module for entry in self.entries)

    @property
    def tops(self) -> tuple[str, ...]:
        """The top-level modules in which its plugin modules lie."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self.modules))

    def files(self) -> dict[str, Path]:
        """Its files by their names beneath the place of installation: what was installed, and all
        in the folders of its plugin modules, for one that is installed in place. Metadata,
        compiled files and certificates are left out."""
        files: dict[str, Path] = {}
        for file in self.distribution.files or ():
            path = Path(str(file.locate()))
            if _counts(Path(str(file))) and path.is_file() and ".." not in file.parts:
                files[file.as_posix()] = path
        for top in self.tops:
            for root, path in _beneath(top, self.roots):
                name = path.relative_to(root)
                if _counts(name):
                    files[name.as_posix()] = path
        return dict(sorted(files.items()))

    def certificate(self) -> Path | None:
        """The certificate that it ships, in or beside its plugin modules; None where there is
        none."""
        origins = [(top, _origin(top, self.roots)) for top in self.tops]
        places = [
            origin.with_name(CERTIFICATE if origin.stem == "__init__" else f"{top}.{CERTIFICATE}")
            for top, origin in origins
            if origin is not None
        ]
        return next((place for place in places if place.is_file()), None)


def packages(paths: Sequence[Path] = ()) -> list[Package]:
    """All that are installed, by name.

    Args:
        paths: folders in which to look in place of Python's path.
    """
    named: dict[str, Package] = {}
    every = distributions(path=[*map(str, paths)]) if paths else distributions()
    for distribution in every:
        name, version, entries = None, "", tuple[EntryPoint, ...]()
        with suppress(Exception):  # metadata that is missing or broken is no package to check
            entries = tuple(e for e in distribution.entry_points if e.group == GROUP)
            told: Any = distribution.metadata if entries else {}
            name, version = told.get("Name"), told.get("Version") or ""
        if name and normalised(name) not in named:  # the first on the path is the one in force
            named[normalised(name)] = Package(
                name,
                version,
                distribution,
                entries,
                tuple(paths),
            )
    return [named[name] for name in sorted(named)]


def find_package(name: str, paths: Sequence[Path] = ()) -> Package | None:
    """The package of a name, spelt in any way that stands for it; None where there is none.

    Args:
        paths: see `packages`.
    """
    return next((p for p in packages(paths) if normalised(p.name) == normalised(name)), None)


def normalised(name: str) -> str:
    """The name of a distribution as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _origin(top: str, roots: Sequence[Path]) -> Path | None:
    for root in roots:
        for file in (root / top / "__init__.py", root / f"{top}.py"):
            if file.is_file():
                return file
    spec = importlib.util.find_spec(top)
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _beneath(top: str, roots: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Each file of a top-level module, with the folder in which that lies."""
    origin = _origin(top, roots)
    if origin is None:
        return
    if origin.name != "__init__.py":
        yield origin.parent, origin
        return
    for path in sorted(origin.parent.rglob("*")):
        if path.is_file():
            yield origin.parents[1], path


def _counts(name: Path) -> bool:
    folders = name.parts[:-1]
    odd = any(
        part == "__pycache__" or part.endswith((".dist-info", ".egg-info")) for part in folders
    )
    return not odd and name.suffix not in (".pyc", ".pth") and not name.name.endswith(CERTIFICATE)
