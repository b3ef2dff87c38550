"""Plugin projects that are not installed by pip: a folder with a pyproject.toml, taken in."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

from packages import install


def entries_of(project: Path, site: Path) -> Sequence[EntryPoint]:
    """The entry points that pip would write for a project, once they lie in a folder.

    Args:
        project: the folder of its pyproject.toml.
        site: takes the metadata; a process finds the package that has both on its path.
    """
    stated = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    fields = [
        ("Metadata-Version", "2.4"),
        ("Name", stated["name"]),
        ("Version", stated["version"]),
        *(("License-Expression", licence) for licence in [stated.get("license")] if licence),
        *(("Requires-Dist", need) for need in stated.get("dependencies", [])),
    ]
    info = install(
        site,
        stated["name"],
        stated["version"],
        entry_points={"ldm": stated["entry-points"]["ldm"]},
        metadata="".join(f"{key}: {value}\n" for key, value in fields),
    )
    return [e for e in Distribution.at(info).entry_points if e.group == "ldm"]
