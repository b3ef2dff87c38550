"""Commands that are listed by name and help, and imported when one of them is run."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ldm_core.cli.frames import Command
from ldm_core.cli.words import as_help
from ldm_core.errors import LdmError
from ldm_core.model.own_program import uncollected
from ldm_core.plugins.blame import blamed
from ldm_core.plugins.command_names import UNUSABLE, listed_as
from ldm_core.plugins.docstrings import written_docstring
from ldm_core.plugins.registry import Plugin, Registry


class Later(TyperCommand):
    """The place of a command, or of a group of commands, in a list; its callback gives it."""

    @cached_property
    def itself(self) -> Any:
        """What it stands for; imports it."""
        return self.callback() if self.callback else None

    def make_context(self, info_name: str | None, args: list[str], **more: Any) -> Any:  # type: ignore[override]
        """That of the command itself, which takes over where its name is typed."""
        with uncollected():
            return self.itself.make_context(info_name, args, **more)


def itself(command: Any) -> Any:
    """A command with all that is beneath it, or what one that is imported later stands for."""
    if isinstance(command, Later):
        return itself(command.itself)
    if isinstance(command, TyperGroup):
        command.commands = {name: itself(beneath) for name, beneath in command.commands.items()}
    return command


def add_group(app: typer.Typer, name: str, help: str, target: str) -> None:
    """Add the commands of a module, once one of them is asked for.

    Args:
        target: ``"package.module:app"``.
    """

    def load() -> Any:
        group = typer.main.get_group(_imported(target))
        group.help = help
        for command in group.commands.values():
            command.help = as_help(command.help or "")
        return group

    app.command(name, help=help, cls=Later)(load)


def add_function(app: typer.Typer, name: str, target: str) -> None:
    """Add a function that declares its arguments for typer, once it is asked for.

    Args:
        target: ``"package.module:function"``.
    """
    written = written_docstring(target)
    help = None if written is None else as_help(written)

    def load() -> Any:
        alone = typer.Typer(add_completion=False)
        alone.command(name, help=help, cls=Command)(_imported(target))
        return typer.main.get_command(alone)

    app.command(name, help=help, cls=Later)(load)


def add_plugin(app: typer.Typer, name: str, plugin: Plugin) -> None:
    """Add a command that a plugin offers, once it is asked for."""

    def load() -> Any:
        from ldm_core.cli.commands import made_command

        return made_command(name, plugin)

    app.command(name, help=help_of(plugin), cls=Later)(load)


def own_command(name: str, target: str) -> Plugin:
    """A command of the core itself, described as those of plugins are."""
    return Plugin("command", name, "ldm-core", "", target)


def _imported(target: str) -> Any:
    module, _, name = target.partition(":")
    return vars(import_module(module))[name]


def help_of(plugin: Plugin) -> str:
    """What a command says of itself, but for its arguments; of one that cannot be imported, why."""
    try:
        with blamed(plugin, "while it was listed"):
            return as_help(plugin.written_doc.partition("Args:")[0])
    except LdmError as error:
        return as_help(f"({UNUSABLE}: {error})")


def add_plugin_commands(app: typer.Typer, registry: Registry) -> None:
    """Add each command ``group name`` or ``name``."""
    groups: dict[str, typer.Typer] = {}
    commands = registry.of_kind("command")
    for plugin in commands:
        group, name = listed_as(plugin, commands)
        parent = app
        if group:
            if group not in groups:
                groups[group] = typer.Typer(no_args_is_help=True, help=f"Commands to {group}.")
                app.add_typer(groups[group], name=group)
            parent = groups[group]
        add_plugin(parent, name, plugin)
