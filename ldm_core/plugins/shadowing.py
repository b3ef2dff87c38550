"""What a package brings that works before it is imported: modules in the place of those of others,
and files that Python runs at each start. Read of what pip wrote down."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

from ldm_core.errors import OURS
from ldm_core.plugins.arrivals import NAMED
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.ownership import record_of, who
from ldm_core.plugins.trust import normalised

PLACES = NAMED | OURS
"""Top-level modules that lie beside those of plugins; Python's own come before them."""
TAKES = re.compile(
    rf'^"?(?:\./)?({"|".join(sorted(PLACES))})(?:/[^\n"]*)?(?:\.py|\.so|\.pyd)"?,', re.M
)
MODULES = re.compile(r'^"?(\w+)(?:/__init__)?\.py"?,', re.MULTILINE)
STARTS = re.compile(r'^"?([^/\n"]+\.pth)"?,', re.MULTILINE)


def shadows(entry: EntryPoint) -> str | None:
    """Why a package may not be imported that brings modules in the place of others', or None."""
    distribution = normalised(who(entry)[0])
    if not isinstance(entry.dist, Distribution) or distribution == OWN:
        return None
    taken = {*TAKES.findall(record_of(entry.dist).text)} - {distribution.replace("-", "_")}
    if not taken:
        return None
    names = ", ".join(f"'{top}'" for top in sorted(taken))
    return (
        f"it brings modules of {names}, which is another package's; that one may have to be "
        "installed anew once this one is uninstalled"
    )


def modules_of(entry: EntryPoint) -> set[str]:
    """The top-level modules of a package, by what pip wrote down and by its entry point."""
    own = {entry.value.partition(":")[0].partition(".")[0].strip()}
    if isinstance(entry.dist, Distribution):
        own.update(MODULES.findall(record_of(entry.dist).text))
    return own - PLACES


def runs_at_start(entry: EntryPoint) -> list[str]:
    """The files by which a package has Python run its code at each start, before anything here can
    see to it; a project that is installed to be edited has such for its own folder."""
    if not isinstance(entry.dist, Distribution):
        return []
    record = record_of(entry.dist)
    if ".pth" not in record.text or record.project is not None:
        return []
    return [name for name in STARTS.findall(record.text) if _runs(Path(record.site) / name)]


def _runs(file: Path) -> bool:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.startswith(("import ", "import\t")) for line in lines)
