"""``ldm``: the commands."""

from __future__ import annotations

import faulthandler
import sys
import threading
import warnings
from contextlib import nullcontext, suppress
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from ldm_core.cli.before import PLUGIN, read_ahead
from ldm_core.cli.ends import (
    BAD_INPUT,
    FAILED,
    LastWord,
    ended,
    leave,
    say,
    say_in_json,
    say_of_thread,
    say_unraised,
)
from ldm_core.cli.folder import leave_folder
from ldm_core.cli.later import (
    add_function,
    add_group,
    add_plugin,
    add_plugin_commands,
    own_command,
)
from ldm_core.cli.signals import StopSignals
from ldm_core.cli.streams import open_streams
from ldm_core.errors import LdmNote, with_class
from ldm_core.model.own_program import begins, uncollected
from ldm_core.plugins.discovery import packages
from ldm_core.plugins.late import anyone_began, left_behind, tell_late
from ldm_core.plugins.meanwhile import nothing_replaced
from ldm_core.plugins.registry import installed
from ldm_core.plugins.timers import unended
from ldm_core.plugins.warned import told

GROUPS = {
    "plugins": ("What is installed at each hook point.", "ldm_core.cli.plugins:app"),
    "models": ("The models that come with installed packages.", "ldm_core.cli.models:app"),
    "recipe": ("Recipes: which plugin at each hook point.", "ldm_core.cli.recipes:app"),
}
"""Groups of commands: what each is for, and where it is."""
LISTS = ["plugins", "list"]
"""The command that only says what is there: in all others it is looked at what was left behind."""
UsageError: Any = typer.BadParameter.__base__
"""What is raised of a command line that is not understood: click's own, or typer's copy of it."""


def make_app() -> typer.Typer:
    """All commands, those of the installed plugins among them, each imported when it is run."""
    app = typer.Typer(
        name="ldm",
        cls=_Commands,
        help="Latent-diffusion pipelines whose every choice is a plugin.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    add_plugin(app, "generate", own_command("generate", "ldm_core.cli.generate:generate"))
    add_function(app, "replay", "ldm_core.cli.replay:replay")
    add_function(app, "show", "ldm_core.cli.show:show")
    add_plugin(app, "explain", own_command("explain", "ldm_core.cli.explain:explain"))
    add_plugin(app, "tune", own_command("tune", "ldm_core.cli.tune:tune"))
    add_plugin_commands(app, installed())
    for name, (help, target) in GROUPS.items():
        add_group(app, name, help, target)
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
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            PLUGIN,
            metavar="FILE.py",
            help="Also a plugin in a file, before or behind any command; repeatable.",
        ),
    ] = None,
) -> None:
    """What stands before a command."""


def main() -> None:
    """Run the command line; whatever goes wrong ends with one message and its own exit code."""
    begins()
    warnings.showwarning = _show_warning
    leave_folder()
    with StopSignals(say_unraised) as signals, unended(left_behind):
        try:
            with open_streams():
                _run()
        except SystemExit as error:
            if signals.signum is None:
                if error.code is not None and not isinstance(error.code, int):
                    say(f"error: {with_class(error).removeprefix('SystemExit: ')}")
                    say_in_json(str(error.code), "", FAILED)
                    raise SystemExit(FAILED) from None
                if error.code and not error.code & 0xFF:  # the system takes the last byte alone
                    raise SystemExit(FAILED) from None
                raise
            code = ended(error, signals.signum)  # typer took what was raised for its own
            raise SystemExit(code) from None
        except _Carried as carried:
            raise SystemExit(ended(carried.error, signals.signum)) from None
        except BaseException as error:
            raise SystemExit(ended(error, signals.signum)) from None


def program() -> NoReturn:
    """The program ``ldm``: `main` in a process of its own, which ends with it."""
    code: Any = 0
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            faulthandler.enable()  # of code beneath Python that crashes, it says who called it
    threading.excepthook = say_of_thread
    last = LastWord()
    try:
        main()
    except SystemExit as end:
        code = end.code
    leave(code if isinstance(code, int) else 0 if code is None else 1, last)


def _run() -> None:
    try:
        arguments = read_ahead(sys.argv[1:])
        with uncollected():
            app = make_app()
        if others := packages():
            tell_late(over=True)
        late = others and (anyone_began() or arguments[:2] != LISTS)
        with nothing_replaced(left_behind, packages) if late else nullcontext():
            app(arguments, prog_name="ldm")
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


class _Carried(BaseException):
    """An error that typer would end the program with before all was said."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class _Commands(TyperGroup):
    """All commands; a Ctrl-C and a closed output, which typer takes for its own, get out."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            for failure in installed().failures:  # which may be of the package that has it
                say(f"not loaded: {failure}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:  # which typer tells, and not in JSON
            say_in_json(error.format_message(), "", BAD_INPUT)
            raise
        except (KeyboardInterrupt, EOFError, OSError) as error:
            raise _Carried(error) from None


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any
) -> None:
    if (words := told(message, category, filename)) is not None:
        say(f"{'note' if issubclass(category, LdmNote) else 'warning'}: {words}")
