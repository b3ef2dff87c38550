"""``ldm plugins``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ldm_core.cli.tables import print_table
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.plugins.hookspecs import KINDS
from ldm_core.plugins.options import REQUIRED, Option
from ldm_core.plugins.registry import Plugin, installed

app = typer.Typer(no_args_is_help=True, help="What is installed at each hook point.")
Kind = Annotated[str | None, typer.Option(help=f"One kind: {', '.join(KINDS)}.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_plugins(kind: Kind = None, as_json: Json = False) -> None:
    """List plugins: kind, name, package, version, one line each."""
    check_kind(kind)
    registry = installed()
    rows = []
    for plugin in (p for k in KINDS if kind in (None, k) for p in registry.of_kind(k)):
        try:
            summary = plugin.summary
        except LdmError as error:
            summary = f"cannot be used: {error}"
        rows.append((plugin.kind, plugin.name, plugin.distribution, plugin.version, summary))
    head = ("kind", "name", "distribution", "version", "summary")
    if as_json:
        typer.echo(json.dumps([dict(zip(head, row, strict=True)) for row in rows], indent=2))
    else:
        print_table(head, rows)
    for failure in registry.failures:
        typer.echo(f"not loaded: {failure}", err=True)


@app.command("show")
def show_plugin(
    name: Annotated[str, typer.Argument(help="A plugin's name, or distribution:name.")],
    kind: Kind = None,
    as_json: Json = False,
) -> None:
    """Describe a plugin: what it does, its package and its options."""
    check_kind(kind)
    registry = installed()
    chosen = registry.named(name, kind) or [
        p for p in registry.plugins if name in (p.name, p.id) and kind in (None, p.kind)
    ]
    if not chosen:
        raise LdmError(
            f"no plugin named '{name}'.{did_you_mean(name, {p.name for p in registry.plugins})}",
            "`ldm plugins list` shows all of them.",
        )
    if as_json:
        typer.echo(json.dumps([_describe(plugin) for plugin in chosen], indent=2))
        return
    for plugin in chosen:
        typer.echo(f"{plugin.kind} {plugin.id} {plugin.version}\n\n{plugin.doc}\n")
        rows = [
            (option.name, option.type_name, _default(option), option.help)
            for option in plugin.options.values()
        ]
        if rows:
            print_table(("option", "type", "default", "what it sets"), rows)


def check_kind(kind: str | None) -> None:
    """Refuse a kind that there is none of."""
    if kind is not None and kind not in KINDS:
        raise LdmError(
            f"no kind of plugin named '{kind}'.{did_you_mean(kind, KINDS)} "
            f"There are {', '.join(KINDS)}."
        )


def _describe(plugin: Plugin) -> dict[str, object]:
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "doc": plugin.doc,
        "options": [
            {
                "name": option.name,
                "type": option.type_name,
                "required": option.default is REQUIRED,
                "default": None if option.default is REQUIRED else _default(option),
                "help": option.help,
            }
            for option in plugin.options.values()
        ],
    }


def _default(option: Option) -> str:
    return "(required)" if option.default is REQUIRED else str(option.default)
