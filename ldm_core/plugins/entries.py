"""The entry points of the installed packages: whose each is, seen by metadata alone, before
anything is imported."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, distributions

from ldm_core.errors import printable
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.ownership import GROUP, Record, about, folder_of, record_of, text_of
from ldm_core.plugins.trust import LOCAL, normalised

NAME = re.compile(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", re.IGNORECASE | re.ASCII)
"""A distribution's name, as the packaging standards have it."""
NEARLY = re.compile(rf"^\W*{GROUP}\s*\]\s*$|^\W*\[\s*{GROUP}\s*$", re.IGNORECASE | re.MULTILINE)
"""A line that is meant to be the heading of our group, and is not."""
LONGEST_VERSION = 80
"""Letters of a version, which every picture's manifest holds."""


@dataclass(frozen=True)
class Failure:
    """A plugin module that could not be used, and why; the rest goes on without it."""

    plugin: str
    distribution: str
    reason: str
    version: str = ""

    def __str__(self) -> str:
        package = f"{self.distribution} {self.version}".strip()
        reason = " ".join(self.reason.split())
        return printable(f"plugin '{self.plugin}' of the package {package}: {reason}")


@dataclass(frozen=True)
class Import:
    """What it took to import a plugin module, and to ask it what it offers.

    Attributes:
        heavy: large packages that were imported for it.
        changed: what it changed for others meanwhile, which was put back.
        module: the plugin module's name.
        at_start: files of its package by which Python runs code of it at each start.
    """

    distribution: str
    version: str
    entry: str
    seconds: float
    heavy: Sequence[str] = ()
    changed: Sequence[str] = ()
    module: str = ""
    at_start: Sequence[str] = ()


@dataclass(frozen=True)
class Metadata:
    """A folder of metadata, and what it says of itself."""

    distribution: Distribution
    name: str
    version: str
    entries: tuple[EntryPoint, ...]

    @property
    def said(self) -> set[tuple[str, str]]:
        return {(entry.name, entry.value) for entry in self.entries}

    @cached_property
    def folder(self) -> str:
        return folder_of(self.distribution)

    @cached_property
    def record(self) -> Record:
        return record_of(self.distribution)


def scan(careful: bool) -> tuple[list[EntryPoint], list[Failure]]:
    """The entry points of plugins, in the order of the path, without importing anything.

    Args:
        careful: see that no package lays metadata in the name of another, also where the name is
            no other's.
    Returns:
        The entry points of packages whose metadata are sound, and what is wrong with the others.
    """
    failures: list[Failure] = []
    claims: dict[str, list[Metadata]] = {}
    everyone = list(_installed(failures))
    for distribution in everyone:
        try:
            metadata = _read(distribution)
        except _Wrong as wrong:
            failures.append(Failure(wrong.entry, folder_of(distribution), str(wrong)))
            continue
        except Exception as error:
            reason = f"its metadata cannot be read: {type(error).__name__}: {error}"
            failures.append(Failure("?", folder_of(distribution), reason))
            continue
        if metadata is not None:
            claims.setdefault(normalised(metadata.name), []).append(metadata)
    entries: list[EntryPoint] = []
    for name, several in claims.items():
        if name != OWN and (careful or len({frozenset(one.said) for one in several}) > 1):
            several = [one for one in several if not _is_laid(one, everyone, failures)]
        if name == OWN:
            several.sort(key=lambda one: not _is_own(one))
            chosen = {(e.name, e.value): e for one in several[::-1] for e in one.entries}
            entries += list(chosen.values())[::-1]
            continue
        entries += several[0].entries if several else ()
        for one in several[1:]:
            if one.said != several[0].said:
                reason = (
                    f"another folder of metadata, {several[0].folder} in "
                    f"{several[0].record.site}, claims its name and comes first; {one.folder} in "
                    f"{one.record.site} is left out"
                )
                failures += [Failure(e.name, one.name, reason, one.version) for e in one.entries]
    return entries, failures


class _Wrong(Exception):
    """What is wrong with a folder of metadata.

    Args:
        entry: the name of its entry point.
    """

    def __init__(self, reason: str, entry: str = "?") -> None:
        super().__init__(reason)
        self.entry = entry


def _installed(failures: list[Failure]) -> Iterator[Distribution]:
    """Every distribution on the path, but for what lies in the folder that a program is run in."""
    try:
        yield from distributions(path=[place for place in sys.path if place])
    except Exception as error:
        reason = f"looking for packages ended there: {type(error).__name__}: {error}"
        failures.append(Failure("?", "unknown", reason))


def _read(distribution: Distribution) -> Metadata | None:
    """The metadata of a distribution that offers plugins; None of others.

    Raises:
        _Wrong: they do not say whose they are, or cannot be read.
    """
    try:
        text = distribution.read_text("entry_points.txt")
    except UnicodeDecodeError as error:
        if b"[ldm]" in bytes(error.object):
            raise _Wrong("its entry_points.txt is not UTF-8") from None
        return None
    except (OSError, ValueError):
        return None
    if not text:
        return None
    if f"[{GROUP}]" not in text:
        if (near := NEARLY.search(text)) is not None:
            raise _Wrong(f"its entry_points.txt says {near[0].strip()!r}, not '[{GROUP}]'")
        return None
    try:
        entries = tuple(distribution.entry_points.select(group=GROUP))
    except Exception as error:
        said = " ".join(str(error).split())
        raise _Wrong(f"its entry_points.txt cannot be read: {said}") from None
    if not entries:
        reason = f"its entry_points.txt has no entry point under '[{GROUP}]'"
        mark = ": it begins with a byte order mark" if text.startswith("\ufeff") else ""
        raise _Wrong(f"{reason}{mark}")
    label = entries[0].name
    try:
        name, version = about(distribution)
    except (OSError, ValueError) as error:
        raise _Wrong(f"its metadata cannot be read: {type(error).__name__}", label) from None
    if not name:
        raise _Wrong("its metadata do not say its Name, so that no list can name it", label)
    if NAME.fullmatch(name) is None:
        raise _Wrong(f"its metadata give it the name {name!r}, which no package can have", label)
    if version is not None and not (version.isprintable() and len(version) <= LONGEST_VERSION):
        raise _Wrong(
            f"its metadata give it the version {version[:LONGEST_VERSION]!r}, which is none", label
        )
    stem = _stem(folder_of(distribution))
    if stem is not None and normalised(stem) != normalised(name):
        raise _Wrong(
            f"its metadata say that it is '{name}', and their folder's name '{stem}'", label
        )
    if normalised(name) == LOCAL:
        raise _Wrong(f"the name '{LOCAL}' is kept for plugins that --plugin names", label)
    return Metadata(distribution, name, str(version or "unknown"), entries)


def _stem(folder: str) -> str | None:
    """The name of a distribution in that of its folder of metadata."""
    stem, dot, kind = folder.rpartition(".")
    if not dot or kind not in ("dist-info", "egg-info"):
        return None
    if kind == "egg-info":
        stem = re.sub(r"-py\d[^-]*$", "", stem)
        return re.sub(r"-\d[^-]*$", "", stem)
    name, _, _ = stem.rpartition("-")
    return name or stem


def _is_own(metadata: Metadata) -> bool:
    """Whether metadata are of the distribution that this module belongs to."""
    record = metadata.record
    return record.line(os.path.realpath(__file__)) is not None or record.project is not None


def _is_laid(metadata: Metadata, everyone: Iterable[Distribution], failures: list[Failure]) -> bool:
    """Whether another distribution brought a folder of metadata along; if so, it is said."""
    for other in everyone:
        folder = folder_of(other)
        if folder == metadata.folder or f"{metadata.folder}/" not in text_of(other, "RECORD"):
            continue
        reason = f"its metadata, {metadata.folder}, were laid there by the package {other.name}"
        failures += [
            Failure(entry.name, metadata.name, reason, metadata.version)
            for entry in metadata.entries
        ]
        return True
    return False
