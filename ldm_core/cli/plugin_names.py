"""``ldm plugins find``."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ldm_core.cli.ends import say
from ldm_core.cli.tables import print_table
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.plugins.elsewhere import (
    CHOICES,
    KINDS,
    NameElsewhere,
    Table,
    looked_up,
    plain,
    tables_of,
)
from ldm_core.plugins.elsewhere_words import flags_of
from ldm_core.plugins.registry import Plugin, Registry, installed

FindKind = Annotated[str | None, typer.Option(help=f"One kind: {', '.join(KINDS)}.")]


def find_name(
    name: Annotated[
        str,
        typer.Argument(
            help="A name of A1111, ComfyUI, InvokeAI, RES4LYF or Diffusers, such as 'Euler a' or "
            "'DPM++ 2M Karras', or one of ours."
        ),
    ],
    kind: FindKind = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a sampler, spacing or argument of another program is here."""
    if kind is not None and kind not in KINDS:
        raise LdmError(
            f"no kind named '{kind}'.{did_you_mean(kind, KINDS)} There are {', '.join(KINDS)}."
        )
    registry = installed()
    tables, faults = tables_of(registry)
    for fault in faults:
        say(f"note: {fault}")
    rows = [_own(plugin) for plugin in _ours(name, kind, registry)]
    rows += [_row(hit) for hit in looked_up(name, tables, kind)]
    if not rows:
        near = did_you_mean(name, _all(tables))
        raise LdmError(
            f"no program that is known here has the name '{name}'.{near}",
            "`ldm plugins list` shows what is here.",
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    print_table(
        ("in", "name", "here", "what differs"),
        [
            (row["source"], row["name"], row["flags"] or row["instead"], _differs(row))
            for row in rows
        ],
    )


def _ours(name: str, kind: str | None, registry: Registry) -> list[Plugin]:
    """Our plugins that are called so."""
    return [
        plugin
        for plugin in sorted(registry.plugins, key=lambda p: (p.kind, p.id))
        if plugin.kind in CHOICES
        and kind in (None, plugin.kind)
        and plain(name) in (plain(plugin.name), plain(plugin.id))
    ]


def _own(plugin: Plugin) -> dict[str, Any]:
    use = {plugin.kind: {"name": plugin.name}}
    return _shown("ldm", plugin.name, plugin.kind, use, plugin.distribution)


def _row(hit: NameElsewhere) -> dict[str, Any]:
    row = _shown(hit.source, hit.name, hit.kind, hit.use, hit.package)
    note = hit.note
    if hit.automatic and "spacing" not in hit.use:
        there = f"Where no schedule is chosen, it goes there with --spacing {hit.automatic}."
        note = " ".join(filter(None, (note, there)))
    return {**row, "missing": hit.missing, "note": note, "instead": hit.instead}


def _shown(source: str, name: str, kind: str, use: Any, package: str) -> dict[str, Any]:
    row: dict[str, Any] = {"source": source, "name": name, "kind": kind, "package": package}
    row |= {"recipe": {key: dict(choice) for key, choice in use.items()}, "flags": flags_of(use)}
    return {**row, "missing": "", "note": "", "instead": ""}


def _differs(row: dict[str, Any]) -> str:
    near = "What is shown is the nearest." if row["missing"] and row["flags"] else ""
    return " ".join(filter(None, (row["missing"], near, row["note"])))


def _all(tables: list[Table]) -> list[str]:
    return [hit.name for table in tables for hit in table.names]
