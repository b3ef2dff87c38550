"""Sub-commands that plugins offer, made from the keyword-only parameters of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ldm_core.errors import LdmError
from ldm_core.plugins.options import REQUIRED
from ldm_core.plugins.registry import Plugin, Registry


def add_plugin_commands(app: typer.Typer, registry: Registry) -> None:
    """Add each command ``group name`` or ``name``; one that two packages offer goes by its id."""
    groups: dict[str, typer.Typer] = {}
    commands = registry.of_kind("command")
    names = [plugin.name for plugin in commands]
    for plugin in commands:
        unique = names.count(plugin.name) == 1
        group, _, name = plugin.name.rpartition(" ")
        name = name if unique else f"{plugin.distribution}:{name}"
        parent = app
        if group:
            if group not in groups:
                groups[group] = typer.Typer(no_args_is_help=True, help=f"Commands to {group}.")
                app.add_typer(groups[group], name=group)
            parent = groups[group]
        try:
            run, text = _as_command(plugin), plugin.doc.partition("Args:")[0]
        except LdmError as error:
            run, text = _broken(error), f"(cannot be used: {error})"
        parent.command(name, help=text)(run)


def _as_command(plugin: Plugin) -> Callable[..., None]:
    """A function with the signature that typer reads."""
    parameters = []
    for option in plugin.options.values():
        flag = f"--{option.name.replace('_', '-')}"
        if option.annotation is bool:
            flag += f"/--no-{option.name.replace('_', '-')}"
        kind: Any = option.annotation
        annotation: Any = Annotated[kind, typer.Option(flag, help=option.help)]
        default = inspect.Parameter.empty if option.default is REQUIRED else option.default
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters.append(
            inspect.Parameter(option.name, keyword, default=default, annotation=annotation)
        )

    def run(**options: Any) -> None:
        try:
            plugin.loaded(**options)
        except (ValueError, FileNotFoundError) as error:
            raise LdmError(str(error)) from error

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _broken(error: LdmError) -> Callable[..., None]:
    def run() -> None:
        raise error

    return run
