"""Metrics as a person names them: with options, in one text or as a table."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldm_core.composition.parts import make, qualified_name
from ldm_core.contracts import Metric
from ldm_core.contracts.record import Marked, unwrapped
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import Plugin, Registry

Choice = str | Mapping[str, Any] | Metric
"""A metric: by name, ``psnr``; with options, ``fid:features=random`` or
``{name = "fid", features = "random"}``; in Python a table or the metric itself."""
FORM = "metrics are named as psnr,ssim, with options as kid:features=random;subset_size=100."


@dataclass(frozen=True)
class Chosen:
    """A metric to measure by.

    Attributes:
        name: what tables call it.
        plugin: that offers it; None of one made in Python.
    """

    name: str
    metric: Metric
    plugin: Plugin | None = None


def parse(texts: Sequence[str]) -> list[dict[str, Any]]:
    """What texts of the command line name, each one metric or several with commas between; one
    that begins with a brace is a table as recipes have it.

    Raises:
        LdmError: one is none of these.
    """
    tables: list[dict[str, Any]] = []
    for text in texts:
        if text.lstrip().startswith("{"):
            tables.append(_table(text))
        else:
            tables += [_choice(entry.strip()) for entry in text.split(",")]
    return tables


def names_in(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """What options of metrics name, with and without the word before the colon of
    ``clip:owner/name``: it may be asked of the Hub, being typed by a person."""
    values = [value for table in tables for value in table.values() if isinstance(value, str)]
    return [*values, *(value.partition(":")[2] for value in values if ":" in value)]


def _table(text: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(f"metric = {text}")
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise LdmError(f"the metric {text!r} cannot be read: {error}.", FORM) from None
    entry: Any = table["metric"]
    if len(table) > 1 or not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise LdmError(f"the metric {text!r} should be a table with a name.", FORM)
    return entry


def _choice(text: str) -> dict[str, Any]:
    before, equals, _ = text.partition("=")
    if not text:
        raise LdmError("a metric has no name.", FORM)
    if not equals:
        return {"name": text}
    name, colon, _ = before.rpartition(":")
    if not (name and colon):
        raise LdmError(f"the metric '{text}' has an option and no name.", FORM)
    options: dict[str, Any] = {}
    for one in text[len(name) + 1 :].split(";"):
        key, equals, value = one.partition("=")
        if not (key and equals):
            raise LdmError(f"the option '{one}' of the metric '{name}' has no value.", FORM)
        if key in options:
            raise LdmError(f"the option '{key}' of the metric '{name}' is given twice.")
        options[key] = value
    return {"name": name, **options}


def chosen(choices: Sequence[Choice], registry: Registry) -> list[Chosen]:
    """The metrics that are named, made with their options; no weight is read.

    Raises:
        LdmError: there is no such metric or option, one lacks a module, or is named twice.
    """
    made: list[Chosen] = []
    for choice in choices:
        for table in parse([choice]) if isinstance(choice, str) else [choice]:
            one = _of_python(table) if isinstance(table, Metric) else _made(table, registry)
            if missing := one.metric.missing:
                extra = one.metric.extra
                raise LdmError(
                    f"the metric '{one.name}' needs {', '.join(missing)}, which is not installed.",
                    f"pip install 'ldm-core[{extra}]' installs it." if extra else "",
                )
            if one.name in (other.name for other in made):
                raise LdmError(f"the metric '{one.name}' is named twice.")
            made.append(one)
    if not made:
        raise LdmError("no metric is named.", "`ldm plugins list --kind metric` shows them.")
    return made


def _made(choice: Any, registry: Registry) -> Chosen:
    choice = unwrapped(choice)
    if isinstance(choice, Metric | Marked):
        return _of_python(choice)
    if not (isinstance(choice, Mapping) and isinstance(choice.get("name"), str)):
        raise LdmError(f"a metric is a name, a table with a name, or a Metric, not {choice!r}.")
    used: list[Plugin] = []
    metric: Metric = make("metric", dict(choice), registry, used, {})
    return Chosen(metric.label or used[0].name, metric, used[0])


def _of_python(metric: Any) -> Chosen:
    if not isinstance(metric, Metric):
        raise LdmError("a metric made in Python is marked by `measures`.")
    name = metric.label or qualified_name(metric).rpartition(".")[2]
    return Chosen(name, metric)
