"""What others call our schedulers, spacings and arguments.

A package's table of names is a file ``ldm_names.toml`` in its import package, found without
importing it. It is read where a name is looked up or is none of ours, and at no other time.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.plugins.elsewhere_settings import with_settings
from ldm_core.plugins.registry import Registry
from ldm_core.values import brief

FILE = "ldm_names.toml"
LONGEST = 2**20
"""Bytes of a table that is read."""
CHOICES = ("scheduler", "spacing", "guidance")
"""The kinds of plugin that a name may stand for."""
KINDS = (*CHOICES, "argument", "model")
"""And what else a table names: arguments, and classes of models that no family opens."""
TEXTS = ("missing", "note", "automatic", "instead")
MOST_LETTERS = 200
"""Letters of a name that is looked up."""


@dataclass(frozen=True)
class NameElsewhere:
    """What a name of another program stands for.

    Attributes:
        source: the program, such as ``A1111``.
        name: as it is written there.
        kind: of `KINDS`.
        use: what is chosen here, as a layer of a recipe: each a table with its name and options.
        missing: what is not here; ``use`` is then the nearest, and empty where nothing is near.
        note: what differs.
        instead: of an argument, the one that is given here.
        automatic: the spacing that goes with a sampler there where none is chosen.
        also: its other spellings.
        settings: what settings of a class add to ``use``, by ``name=value``.
        fork: the program that took the name up, where the one of ``source`` has none such.
        package: the distribution whose table has it.
    """

    source: str
    name: str
    kind: str
    use: Mapping[str, Mapping[str, Any]]
    missing: str = ""
    note: str = ""
    instead: str = ""
    automatic: str = ""
    also: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fork: str = ""
    package: str = ""


@dataclass(frozen=True)
class Table:
    """The names of one program, in one package's file."""

    key: str
    title: str
    asks: str
    names: tuple[NameElsewhere, ...]


def tables_of(registry: Registry) -> tuple[list[Table], list[str]]:
    """The tables of the packages whose plugins there are, and a line for each file that is not
    read because it is broken."""
    tables: list[Table] = []
    faults = []
    packages = {plugin.package: plugin.distribution for plugin in registry.plugins}
    for package, distribution in sorted(packages.items()):
        for path in _files(package):
            try:
                tables += read_table(path, distribution)
            except LdmError as error:
                faults.append(f"the names of the package {distribution} are not read: {error}")
    return tables, faults


def _files(package: str) -> Iterator[Path]:
    try:
        spec = find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):  # one that a test or a person made, which is no module
        return
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place) / FILE
        if path.is_file():
            yield path


def read_table(path: Path, distribution: str) -> list[Table]:
    """The tables in a file.

    Raises:
        LdmError: it cannot be read, is no TOML, or has an entry of another form.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise LdmError(f"{path} has more than {LONGEST} bytes.")
        raw = tomllib.loads(data.decode("utf-8"))
        return [_table(key, raw[key], distribution) for key in raw]
    except OSError as error:
        raise LdmError(f"{path}: {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise LdmError(f"{path} is no TOML: {error}.") from None
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        if isinstance(error, LdmError):
            raise
        raise LdmError(f"{path} is no table of names: {error}.") from None


def _table(key: str, raw: Any, distribution: str) -> Table:
    shared = raw.get("settings", {})
    title, asks = _text(raw["title"]), _text(raw.get("asks", ""))
    if unknown := {*raw} - {"title", "asks", "settings", *KINDS}:
        raise LdmError(f"'{key}' has {brief(min(unknown))}, which is none of {', '.join(KINDS)}.")
    names = [
        _name(title, kind, name, entry, shared, distribution)
        for kind in KINDS
        for name, entry in raw.get(kind, {}).items()
    ]
    return Table(key, title, asks, tuple(names))


def _name(
    source: str, kind: str, name: str, entry: Any, shared: Any, distribution: str
) -> NameElsewhere:
    if unknown := {*entry} - {*CHOICES, *TEXTS, "also", "settings", "fork"}:
        raise LdmError(f"'{name}' says {brief(min(unknown))}, which means nothing.")
    settings = {**(shared if kind == "scheduler" else {}), **entry.get("settings", {})}
    texts = {key: _text(entry.get(key, "")) for key in TEXTS}
    if fork := _text(entry.get("fork", "")):
        texts["note"] = f"Of {fork}. {texts['note']}".strip()
    return NameElsewhere(
        source,
        name,
        kind,
        _choices(entry),
        **texts,
        fork=fork,
        also=tuple(_text(other) for other in entry.get("also", ())),
        settings={words: _choices(added) for words, added in settings.items()},
        package=distribution,
    )


def _choices(entry: Any) -> dict[str, dict[str, Any]]:
    """The choices in an entry, each as a table."""
    chosen = {kind: entry[kind] for kind in CHOICES if kind in entry}
    return {k: {"name": v} if isinstance(v, str) else dict(v) for k, v in chosen.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{brief(value)} should be text")
    return value


def looked_up(text: str, tables: Iterable[Table], kind: str | None = None) -> list[NameElsewhere]:
    """What a name stands for, in each program that has it.

    Case, spaces, hyphens and underscores do not count, ``pp`` is ``++``, and a class may go without
    its ``Scheduler``. A sampler's name may have a spacing's behind it, as in ``DPM++ 2M Karras``,
    where nobody has it as a whole; and a class its settings, as in
    ``DPMSolverMultistepScheduler use_karras_sigmas=True``.

    Args:
        kind: where only this one is asked for: of `KINDS`.
    """
    words = text[:MOST_LETTERS].replace(",", " ").replace("(", " ").replace(")", " ").split()
    settings = [word for word in words if "=" in word]
    key = plain(" ".join(word for word in words if "=" not in word))
    tables = [*tables] if key else []
    found = [n for table in tables for n in table.names if key in map(plain, (n.name, *n.also))]
    found = found or [hit for table in tables for hit in _of_two(key, table)]
    found = [hit for hit in found if kind in (None, hit.kind)]
    return [_with_settings(hit, settings) for hit in found] if settings else found


def plain(name: str) -> str:
    """A name without what does not count in it."""
    key = re.sub(r"[\W_]", "", name.casefold().replace("++", "pp").replace("+", "plus"))
    return key.replace("scheduler", "") or key


def _of_two(key: str, table: Table) -> Iterator[NameElsewhere]:
    """A sampler's name with a spacing's behind it."""
    spacings = {
        plain(other): n for n in table.names if n.kind == "spacing" for other in (n.name, *n.also)
    }
    for sampler in (n for n in table.names if n.kind == "scheduler"):
        for first in sorted(set(map(plain, (sampler.name, *sampler.also)))):
            spacing = spacings.get(key.removeprefix(first)) if key.startswith(first) else None
            if spacing is not None:
                yield joined(sampler, spacing)


def joined(sampler: NameElsewhere, spacing: NameElsewhere) -> NameElsewhere:
    """A sampler on a spacing of the same program; one that chooses nothing is the sampler's own."""
    notes = (sampler.note, spacing.note if spacing.use or spacing.missing else "")
    use = {**sampler.use, **spacing.use}
    if not spacing.use and sampler.automatic:
        use["spacing"] = {"name": sampler.automatic}
    return NameElsewhere(
        sampler.source,
        f"{sampler.name} {spacing.name}",
        "scheduler",
        use,
        " ".join(filter(None, (sampler.missing, spacing.missing))),
        " ".join(filter(None, notes)),
        package=sampler.package,
    )


def _with_settings(hit: NameElsewhere, settings: list[str]) -> NameElsewhere:
    """A class with its settings; what is not known of them is said as missing."""
    use, left = with_settings(hit.use, hit.settings, settings)
    missing = f"Not carried over: {', '.join(left)}." if left else ""
    return NameElsewhere(
        hit.source,
        " ".join([hit.name, *settings]),
        hit.kind,
        use,
        " ".join(filter(None, (hit.missing, missing))),
        hit.note,
        package=hit.package,
    )
