"""``ldm plugins new``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ldm_core.media.json_text import json_text
from ldm_core.plugins.registry import installed
from ldm_core.scaffold.kinds import STARTERS

KINDS = ", ".join(STARTERS)


def new_plugins(
    name: Annotated[str, typer.Argument(help="Of the package, as ldm-mine.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What it offers; repeatable, or several with commas between. One of {KINDS}."
        ),
    ] = None,
    dir: Annotated[
        Path, typer.Option("--dir", "-o", help="The folder in which that of the package is made.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a complete plugin package: a working plugin of each kind, tests, licence, CI.

    Its plugins are called as the package is, without 'ldm-'. Its folder is printed; the commands
    that come next are told on the standard error stream.
    """
    from ldm_core.cli.main import make_app
    from ldm_core.scaffold.package import new_package

    app = typer.main.get_group(make_app())
    package = new_package(name, kind or [], dir.expanduser(), installed(), [*app.commands])
    if as_json:
        typer.echo(json_text({"path": str(package.folder), "next": list(package.commands)}))
        return
    typer.echo(str(package.folder))
    typer.echo("next:", err=True)
    for command in package.commands:
        typer.echo(f"  {command}", err=True)
