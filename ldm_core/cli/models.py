"""``ldm models``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ldm_core.cli.tables import print_table
from ldm_core.plugins.registry import installed

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List models: name, package, size, what it was made for, folder."""
    from ldm_core.model.files import size_of

    models = sorted(installed().models, key=lambda m: (m.name, m.distribution))
    if as_json:
        records = [
            {
                "name": m.name,
                "distribution": m.distribution,
                "version": m.version,
                "folder": str(m.folder),
                "bytes": size_of(m.folder),
                "made_for": m.made_for,
            }
            for m in models
        ]
        typer.echo(json.dumps(records, indent=2))
        return
    head = ("name", "distribution", "size", "made for", "folder")
    rows = [
        (m.name, m.distribution, f"{size_of(m.folder) / 1e6:.1f} MB", m.made_for, str(m.folder))
        for m in models
    ]
    print_table(head, rows)
    for failure in installed().failures:
        typer.echo(f"not loaded: {failure}", err=True)
