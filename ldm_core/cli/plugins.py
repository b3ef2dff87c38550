"""``ldm plugins``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ldm_core.cli.new import new_plugins
from ldm_core.cli.tables import print_table
from ldm_core.cli.words import without_marks
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.plugins.hookspecs import KINDS
from ldm_core.plugins.registry import installed

app = typer.Typer(no_args_is_help=True)
app.command("new")(new_plugins)
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
        print_table(head, [[*row[:-1], without_marks(row[-1])] for row in rows])
    for failure in registry.failures:
        typer.echo(f"not loaded: {failure}", err=True)


@app.command("show")
def show_plugin(
    name: Annotated[str, typer.Argument(help="A plugin's name, or distribution:name.")],
    kind: Kind = None,
    as_json: Json = False,
) -> None:
    """Describe a plugin: what it does, its package, its options, and what a conditioning reads."""
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
    from ldm_core.cli.plugin_details import describe_plugin, print_plugin

    if as_json:
        described = [describe_plugin(plugin) for plugin in chosen]
        typer.echo(json.dumps(described, indent=2, default=str))
        return
    for plugin in chosen:
        print_plugin(plugin)


def check_kind(kind: str | None) -> None:
    """Refuse a kind that there is none of."""
    if kind is not None and kind not in KINDS:
        raise LdmError(
            f"no kind of plugin named '{kind}'.{did_you_mean(kind, KINDS)} "
            f"There are {', '.join(KINDS)}."
        )
