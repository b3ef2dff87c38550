"""A project's folder, checked as if it were installed.

What an installation would leave, its metadata and entry points, is written beside; with both on
``PYTHONPATH`` every process finds the package as any other.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.plugins.ownership import GROUP


@dataclass(frozen=True)
class Project:
    """A folder with a pyproject.toml that offers plugins.

    Attributes:
        name: of the distribution.
        roots: the folders from which its modules are imported.
    """

    name: str
    version: str
    table: Mapping[str, Any]
    entries: Mapping[str, str]
    roots: tuple[Path, ...]

    def as_installed(self, into: Path) -> list[Path]:
        """Write what an installation would leave, and say what belongs on the path.

        Args:
            into: an empty folder.
        """
        info = into / f"{self.name.replace('-', '_')}-{self.version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(self._metadata(), encoding="utf-8")
        lines = [f"{name} = {value}" for name, value in self.entries.items()]
        (info / "entry_points.txt").write_text(
            "\n".join((f"[{GROUP}]", *lines, "")), encoding="utf-8"
        )
        return [into, *self.roots]

    def _metadata(self) -> str:
        licence = self.table.get("license")
        if isinstance(licence, Mapping):
            licence = licence.get("text") or licence.get("file")
        fields: list[tuple[str, Any]] = [
            ("Metadata-Version", "2.4"),
            ("Name", self.name),
            ("Version", self.version),
            ("Summary", self.table.get("description")),
            ("License-Expression", licence),
            ("Requires-Python", self.table.get("requires-python")),
            *(("Requires-Dist", need) for need in self.table.get("dependencies", ())),
        ]
        said = [f"{key}: {' '.join(str(value).split())}" for key, value in fields if value]
        return "\n".join((*said, ""))


def is_folder(target: str) -> bool:
    """Whether what is to be checked is a project's folder, and no name that a folder has too."""
    folder = Path(target)
    path = os.sep in target or target == "."
    return folder.is_dir() and (path or (folder / "pyproject.toml").is_file())


def read_project(folder: Path) -> Project:
    """What the pyproject.toml of a folder says.

    Raises:
        LdmError: there is none, it offers no plugins, or the module of an entry point is not there.
    """
    file = folder / "pyproject.toml"
    if not file.is_file():
        raise LdmError(
            f"the folder '{folder}' has no pyproject.toml.",
            "`ldm plugins check` takes a distribution, a plugin's name, or a project's folder.",
        )
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LdmError(f"'{file}' is no TOML: {error}.") from None
    table = document.get("project")
    table = table if isinstance(table, Mapping) else {}
    points = table.get("entry-points")
    entries = points.get(GROUP) if isinstance(points, Mapping) else None
    if not isinstance(entries, Mapping) or not entries or not isinstance(table.get("name"), str):
        raise LdmError(
            f"'{file}' offers no plugins: it needs a name, and a table "
            f'[project.entry-points.{GROUP}] with NAME = "MODULE".'
        )
    values = {str(name): str(value) for name, value in entries.items()}
    version = table.get("version")
    return Project(
        table["name"],
        version if isinstance(version, str) else "0",
        table,
        values,
        _roots(folder.resolve(), document, values),
    )


def _roots(
    folder: Path, document: Mapping[str, Any], entries: Mapping[str, str]
) -> tuple[Path, ...]:
    """The folders in which the modules of the entry points lie."""
    candidates = [folder, folder / "src", *_packages(folder, document)]
    roots: list[Path] = []
    for value in entries.values():
        module = value.partition(":")[0].strip()
        top = module.partition(".")[0]
        root = next(
            (c for c in candidates if (c / top).is_dir() or (c / f"{top}.py").is_file()), None
        )
        if root is None:
            raise LdmError(
                f"the entry point {value!r} of '{folder}' names the module '{module}', and there "
                f"is no '{top}' in the folder, nor in its src."
            )
        roots.append(root)
    return tuple(dict.fromkeys(roots))


def _packages(folder: Path, document: Mapping[str, Any]) -> list[Path]:
    """The folders that hatchling or setuptools are told to take packages from."""
    found: list[Path] = []
    tool = document.get("tool", {})
    wheel = tool.get("hatch", {}).get("build", {}).get("targets", {}).get("wheel", {})
    found += [(folder / package).parent for package in wheel.get("packages", ())]
    setuptools = tool.get("setuptools", {})
    if isinstance(setuptools.get("package-dir"), Mapping):
        found += [folder / place for place in setuptools["package-dir"].values()]
    packages = setuptools.get("packages", {})
    if isinstance(packages, Mapping):
        found += [folder / place for place in packages.get("find", {}).get("where", ())]
    return found
