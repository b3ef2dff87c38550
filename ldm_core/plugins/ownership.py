"""Whose a module is: what pip wrote down of the files that it installed, read without importing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
from functools import cache, cached_property
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, EntryPoint, distributions
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlparse

from ldm_core.errors import OURS, LdmError, PluginError
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.trust import in_force, normalised

GROUP = "ldm"
"""The group of entry points by which plugin modules are found."""
MODULE = re.compile(r"(\w+(?:\.\w+)*)\s*(:\s*\w+(?:\.\w+)*)?\s*(\[[^\]]*\])?")


class Record:
    """Which files a distribution put where, by what pip wrote down."""

    def __init__(self, distribution: Distribution) -> None:
        self.site = _real(str(distribution.locate_file("")))
        self.text = text_of(distribution, "RECORD")
        self._lines: dict[str, str] | None = None
        self._distribution = distribution

    def line(self, file: str) -> str | None:
        """The SHA-256 of a file, in base 64, as it was put there, empty where that is not said;
        None where the file is another's."""
        inside = file.startswith(self.site + os.sep)
        path = file[len(self.site) + 1 :] if inside else os.path.relpath(file, self.site)
        path = path.replace(os.sep, "/")
        if path not in self.text:
            return None
        if self._lines is None:
            cells = (line.rsplit(",", 2) for line in self.text.splitlines())
            self._lines = {c[0].strip('"'): c[1] for c in cells if len(c) == 3}
        digest = self._lines.get(path)
        return None if digest is None else digest.rpartition("=")[2]

    def has_module(self, module: str) -> bool:
        """Whether it put a module of this name anywhere."""
        path = re.escape(module.replace(".", "/"))
        pattern = rf'^"?{path}(/__init__)?\.[^/\n]+,'
        return re.search(pattern, self.text, re.MULTILINE) is not None

    @cached_property
    def project(self) -> str | None:
        """The folder of a project that is installed so that it can be edited."""
        try:
            said = json.loads(text_of(self._distribution, "direct_url.json") or "{}")
            if not said.get("dir_info", {}).get("editable"):
                return None
            return os.path.realpath(unquote(urlparse(said["url"]).path))
        except (ValueError, KeyError, AttributeError, TypeError):
            return None


@cache
def record_of(distribution: Distribution) -> Record:
    """What pip wrote down of a distribution, which is read once."""
    return Record(distribution)


def who(entry: EntryPoint) -> tuple[str, str]:
    """The distribution of an entry point by the metadata that it was read from, and its version."""
    home = entry.dist
    if home is None:
        return "unknown", "0"
    if not isinstance(home, Distribution):
        return home.name, home.version
    name, version = about(home)
    return name or "unknown", version or "unknown"


@cache
def about(distribution: Distribution) -> tuple[str | None, str | None]:
    """The name and the version that metadata say; None of what they do not.

    Raises:
        ValueError: they are no text.
    """
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    fields = dict(re.findall(r"^(Name|Version)[ \t]*:[ \t]*(.*?)[ \t\r]*$", head, re.MULTILINE))
    return fields.get("Name") or None, fields.get("Version") or None


def misplaced(entry: EntryPoint) -> str | None:
    """Why the module of an entry point is not its distribution's own; None where it is.

    A file that pip wrote down is that distribution's whose record it is, and by its hash where
    several wrote it. What nobody wrote down, as of a project that is installed to be edited, is
    another's where it lies in the folder of that one's project.
    """
    form = MODULE.fullmatch(entry.value.strip())
    if form is None:
        return f"its entry point names no module, but {entry.value!r}"
    module = form[1]
    top = module.partition(".")[0]
    own = normalised(who(entry)[0]) == OWN
    if own and top not in OURS:
        return f"it says that it is {OWN}, and its module '{module}' is none of {OWN}'s"
    if own or entry.dist is None:
        return None
    if top in OURS:
        return f"its module '{module}' belongs to the package {OWN}"
    if top in sys.stdlib_module_names:
        return f"its module '{module}' belongs to Python itself"
    file = _file(module, _found)
    if file is None:
        return None
    record = record_of(entry.dist)
    digest = record.line(file)
    if digest is not None:
        if not digest or digest == _digest(file):
            return None
        owner = _owner(file, entry.dist, _digest(file))
        return owner and f"its module '{module}', {file}, belongs to the package {owner}"
    owner = _owner(file, entry.dist, None)
    if owner is not None and not _within(file, record.project):
        return f"its module '{module}', {file}, belongs to the package {owner}"
    if record.has_module(module):
        return (
            f"its module '{module}' would be imported from {file}, which is none of the files that "
            "were installed with it"
        )
    return None


def plugin_package_of(module: str, asking: str) -> tuple[str, tuple[str, ...]]:
    """Another distribution than the one that asks, to which a module belongs, and the names of its
    entry points, of which one that offers no plugins has none; an empty name where there is none.
    """
    file = _file(module)
    if file is None:
        return "", ()
    for home in distributions():
        if Record(home).line(file) is None:
            continue
        if normalised(str(home.name)) == normalised(asking):
            return "", ()
        return str(home.name), tuple(e.name for e in home.entry_points if e.group == GROUP)
    return "", ()


def check_admitted(whose: str, target: str, asking: str) -> None:
    """See that a plugin's target lies in no other plugin package that lists leave out.

    Raises:
        PluginError: it does.
    """
    owner, entries = plugin_package_of(target.partition(":")[0], asking)
    if entries and not any(in_force().admit(owner, entry) for entry in entries):
        what = f"its target '{target}' belongs to the package {owner}"
        cause = LdmError(f"{what}, which the lists of plugins leave out.")
        raise PluginError(whose, "before it was imported", cause)


_found: dict[str, ModuleSpec] = {}
"""Where modules were found whose owner was looked for, until they are imported."""


def found(module: str) -> ModuleSpec | None:
    """Where a module was found when its owner was looked for, which is where it is to be imported
    from; said once."""
    return _found.pop(module, None)


@cache
def _real(folder: str) -> str:
    """A folder without links; of those in one folder that is asked once."""
    above, name = os.path.split(folder)
    if not above or name in ("", ".", ".."):
        return os.path.realpath(folder)
    whole = os.path.join(_real(above), name)
    return os.path.realpath(whole) if os.path.islink(whole) else whole


def _file(module: str, found: dict[str, ModuleSpec] | None = None) -> str | None:
    """The file that would be imported as a module, its packages not being imported for it.

    Args:
        found: takes where it and its packages are, but for what is imported already.
    """
    top, *rest = module.split(".")
    specs = {}
    try:
        specs[top] = spec = find_spec(top)
        name = top
        for part in rest:
            if spec is None or spec.submodule_search_locations is None:
                return None
            name = f"{name}.{part}"
            specs[name] = spec = PathFinder.find_spec(name, [*spec.submodule_search_locations])
    except Exception:
        return None
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    if found is not None:
        found.update((n, one) for n, one in specs.items() if one and n not in sys.modules)
    return _real(spec.origin)


def file_of(module: ModuleType) -> Path | None:
    """The file of a module that is imported; None of those that Python has built in."""
    try:
        file: object = module.__file__
    except AttributeError:
        return None
    return Path(file) if isinstance(file, str) else None


def _owner(file: str, home: Distribution, digest: str | None) -> str | None:
    """Another distribution that a file belongs to.

    Args:
        digest: the file's; of those that wrote it down, it is that one's which wrote this.
    """
    site, folder = str(home.locate_file("")), folder_of(home)
    editor = None  # an environment may lie in a project's folder, and its files be others'
    for other in distributions(path=[place for place in sys.path if place]):
        if (str(other.locate_file("")), folder_of(other)) == (site, folder):
            continue
        record = Record(other)
        line = record.line(file)
        if line is not None and digest in (None, line):
            return str(other.name)
        edited = digest is None and record.project is not None
        same = normalised(str(other.name)) == normalised(str(home.name))  # and asked by its folder
        if line is None and edited and not same and _project(file) == record.project:
            editor = editor or str(other.name)
    return editor


def _project(file: str) -> str | None:
    """The folder of the project that a file lies in."""
    for folder in Path(file).parents:
        if any((folder / name).is_file() for name in ("pyproject.toml", "setup.py", "setup.cfg")):
            return str(folder)
    return None


def _within(file: str, folder: str | None) -> bool:
    return folder is not None and Path(file).is_relative_to(folder)


def _digest(file: str) -> str:
    try:
        content = Path(file).read_bytes()
    except OSError:
        return ""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def folder_of(distribution: Distribution) -> str:
    """The name of the folder with a distribution's metadata; empty where it has none."""
    path = vars(distribution).get("_path")
    return "" if path is None else Path(str(path)).name


def text_of(distribution: Distribution, file: str) -> str:
    """A file of metadata; nothing where it is not there or cannot be read."""
    try:
        return distribution.read_text(file) or ""
    except (OSError, ValueError):
        return ""
