"""``ldm``: the commands, and how errors leave the program."""

from __future__ import annotations

import io
import os
import sys
import warnings
from importlib.metadata import version
from typing import Annotated, Any

import typer

from ldm_core.cli import explain, generate, models, plugins, recipes, replay
from ldm_core.cli.commands import add_command, add_plugin_commands, own_command
from ldm_core.errors import LdmError, LdmWarning, NotFiniteError
from ldm_core.plugins.registry import installed, raised_in

NOT_FINITE = 1
BAD_INPUT = 2
INTERRUPTED = 130


def make_app() -> typer.Typer:
    """All commands, those of the installed plugins among them."""
    app = typer.Typer(
        name="ldm",
        help="Latent-diffusion pipelines whose every choice is a plugin.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    add_command(app, "generate", own_command("generate", generate.generate))
    app.command()(replay.replay)
    add_command(app, "explain", own_command("explain", explain.explain))
    app.add_typer(plugins.app, name="plugins")
    app.add_typer(models.app, name="models")
    app.add_typer(recipes.app, name="recipe")
    add_plugin_commands(app, installed())
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ldm {version('ldm-core')}")
        raise typer.Exit


def _options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """What stands before a command."""


def main() -> None:
    """Run the command line; bad input ends with one message and exit code 2."""
    warnings.showwarning = _show_warning
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be no Unicode
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        make_app()()
    except LdmError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(NOT_FINITE if isinstance(error, NotFiniteError) else BAD_INPUT)
    except Exception as error:
        if place := raised_in(error, installed()):
            error.add_note(f"raised in {place}")
        raise
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    finally:
        _leave_the_pipe()


def _leave_the_pipe() -> None:
    """Be silent at exit where who read the output, such as ``head``, has gone."""
    if sys.__stdout__ is None:
        return
    try:
        sys.__stdout__.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, LdmWarning):
        typer.echo(f"warning: {message}", err=True)
