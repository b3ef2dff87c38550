"""``ldm plugins``."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from ldm_core.cli.check import check_plugins
from ldm_core.cli.completion import begun, of_any_kind
from ldm_core.cli.ends import FAILED, say
from ldm_core.cli.new import new_plugins
from ldm_core.cli.plugin_names import find_name
from ldm_core.cli.tables import print_table
from ldm_core.cli.words import as_text
from ldm_core.conformance.shipped import certificates
from ldm_core.errors import LdmError, PluginError, did_you_mean
from ldm_core.plugins.blame import OWN, blamed
from ldm_core.plugins.died import Watch
from ldm_core.plugins.docstrings import written_docstring
from ldm_core.plugins.hookspecs import KINDS
from ldm_core.plugins.registry import Failure, Import, Plugin, installed

SHOWN = ("kind", "name", "distribution", "version", "doc", "failure")
"""What is shown of a plugin that fails, in JSON."""
SLOW = 0.5
"""Seconds for the import of a plugin module, from which on they are said."""
MODELS = "`ldm models list` shows the models that packages ship."
app = typer.Typer(no_args_is_help=True)
app.command("new")(new_plugins)
app.command("find")(find_name)
Kind = Annotated[
    str | None,
    typer.Option(
        help=f"One kind: {', '.join(KINDS)}.",
        autocompletion=lambda incomplete: begun(KINDS, incomplete),
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_plugins(kind: Kind = None, as_json: Json = False) -> None:
    """List plugins: kind, name, package, version, one line each."""
    check_kind(kind)
    registry = installed()
    rows = []
    with Watch() as watch:
        for plugin in (p for k in KINDS if kind in (None, k) for p in registry.of_kind(k)):
            failure = None
            try:
                summary = _summary(plugin, watch)
            except LdmError as error:
                failure = error.message
                summary = f"cannot be used: {failure}"
            whose = (plugin.distribution, plugin.version)
            rows.append((plugin.kind, plugin.name, *whose, summary, failure))
    head = ("kind", "name", "distribution", "version", "summary", "failure")
    certified = certificates(registry.plugins)
    if as_json:
        rows += [_row(failure) for failure in registry.failures]
        entries = [dict(zip(head, row, strict=True)) for row in rows]
        for entry in entries:
            if (words := certified.get(str(entry["distribution"]))) is not None:
                entry["certificate"] = words
        typer.echo(json.dumps(entries, indent=2))
    else:
        print_table(head[:-1], [[*row[:4], as_text(row[4])] for row in rows])
    for distribution, words in sorted(certified.items()):
        say(f"{distribution}: {words}")
    for failed in registry.failures:
        say(f"not loaded: {failed}")
    for one in registry.imports:
        for remark in remarks(one):
            say(f"warning: {remark}")
    for plugin in registry.plugins:
        if plugin.earlier is not None:
            plugin.earlier.warn()


def _summary(plugin: Plugin, watch: Watch) -> str:
    """What a plugin is, in a line.

    Raises:
        LdmError: it cannot be imported, where that is needed.
    """
    if _is_written(plugin):
        return plugin.summary
    with blamed(plugin, "while it was listed"):
        if plugin.distribution != OWN:
            ended = watch.over(f"the summary of {plugin.kind} {plugin.id}", lambda: plugin.summary)
            if ended is not None:
                raise LdmError(f"{plugin.whose}: a process that imported it {ended}")
        return plugin.summary


def _is_written(plugin: Plugin) -> bool:
    """Whether what a plugin is can be read of its source, for which no code of its package runs."""
    if not isinstance(plugin.target, str):
        return False
    parent = plugin.target.partition(":")[0].rpartition(".")[0]
    there = not parent or parent in sys.modules
    return there and written_docstring(plugin.target) is not None


def _row(failure: Failure) -> tuple[str, str, str, str, str, str | None]:
    """What could not be loaded, as a row of the list."""
    whose = (failure.distribution, failure.version)
    return ("package", failure.plugin, *whose, "not loaded", failure.reason)


def remarks(one: Import) -> list[str]:
    """What is to be said of how a package was imported, which every command has to wait for."""
    if one.distribution == OWN:
        return []
    package = f"the package {one.distribution} {one.version}"
    said = []
    if one.seconds >= SLOW:
        said.append(
            f"{package} took {one.seconds:.1f} s to import; its plugin module should do nothing "
            "but name what it offers"
        )
    if one.heavy:
        said.append(
            f"{package} imports {' and '.join(one.heavy)} with its plugin module, for which every "
            "command waits; that belongs into the functions that it names"
        )
    if one.changed:
        said.append(
            f"{package} changed {', '.join(one.changed)} while it was imported; that was put back"
        )
    if one.at_start:
        said.append(
            f"{package} has Python run its code at each start, by {', '.join(one.at_start)}; what "
            "that changes nobody sees"
        )
    return said


@app.command("show")
def show_plugin(
    name: Annotated[
        str,
        typer.Argument(help="A plugin's name, or distribution:name.", autocompletion=of_any_kind),
    ],
    kind: Kind = None,
    as_json: Json = False,
) -> None:
    """Describe a plugin: what it does, its package, its options, and what a conditioning reads."""
    check_kind(kind)
    registry = installed()
    chosen = registry.named(name, kind) or [
        p for p in registry.plugins if name in (p.name, p.id) and kind in (None, p.kind)
    ]
    failures = [
        failure
        for failure in registry.failures
        if name in (failure.distribution, f"{failure.distribution}:{failure.plugin}")
    ]
    if not chosen and failures:
        if as_json:
            rows = [dict(zip(SHOWN, _row(failure), strict=True)) for failure in failures]
            typer.echo(json.dumps(rows, indent=2))
        for failure in failures:
            say(f"not loaded: {failure}")
        raise typer.Exit(FAILED)
    models = {name_ for model in registry.models for name_ in (model.name, model.id)}
    if not chosen and name in models:
        raise LdmError(f"'{name}' is a model that a package ships, and no plugin.", MODELS)
    if not chosen:
        raise LdmError(
            f"no plugin named '{name}'.{did_you_mean(name, {p.name for p in registry.plugins})}",
            "\n  ".join(
                [
                    "`ldm plugins list` shows all of them.",
                    *(f"not loaded: {failure}" for failure in registry.failures),
                ]
            ),
        )
    from ldm_core.cli.plugin_details import describe_plugin, print_plugin

    described: list[dict[str, object]] = []
    errors = []
    for plugin in chosen:
        try:
            described += [describe_plugin(plugin) | _certificate(plugin)] if as_json else []
            if not as_json:
                print_plugin(plugin)
                for words in _certificate(plugin).values():
                    typer.echo(f"\n{words}")
        except PluginError as error:
            errors.append(error)
            whose = (plugin.kind, plugin.name, plugin.distribution, plugin.version)
            row = (*whose, "", error.message)
            described.append(dict(zip(SHOWN, row, strict=True)))
    if as_json:
        typer.echo(json.dumps(described, indent=2, default=str))
    for one in errors:
        say(f"error: {one}")
    if errors:
        raise typer.Exit(FAILED)


app.command("check")(check_plugins)


def _certificate(plugin: Plugin) -> dict[str, str]:
    """What there is to show of the certificate of a plugin's package."""
    shown = certificates([plugin])
    return {"certificate": shown[plugin.distribution]} if shown else {}


def check_kind(kind: str | None) -> None:
    """Refuse a kind that there is none of."""
    if kind in ("model", "models"):
        raise LdmError("a model is no plugin, though packages ship some.", MODELS)
    if kind is not None and kind not in KINDS:
        raise LdmError(
            f"no kind of plugin named '{kind}'.{did_you_mean(kind, KINDS)} "
            f"There are {', '.join(KINDS)}."
        )
