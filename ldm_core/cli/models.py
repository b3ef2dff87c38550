"""``ldm models``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ldm_core.cli.ends import say
from ldm_core.cli.tables import print_table
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import ShippedModel, installed

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List models: name, package, size, what it was made for, folder."""
    models = sorted(installed().models, key=lambda m: (m.name, m.distribution))
    sizes = [_size_of(model) for model in models]
    if as_json:
        records = [
            {
                "name": m.name,
                "distribution": m.distribution,
                "version": m.version,
                "folder": str(m.folder),
                "bytes": size if isinstance(size, int) else None,
                "made_for": m.made_for,
                "failure": None if isinstance(size, int) else size,
            }
            for m, size in zip(models, sizes, strict=True)
        ]
        typer.echo(json.dumps(records, indent=2))
        return
    head = ("name", "distribution", "size", "made for", "folder")
    rows = [
        (
            m.name,
            m.distribution,
            f"{size / 1e6:.1f} MB" if isinstance(size, int) else "unusable",
            m.made_for,
            str(m.folder),
        )
        for m, size in zip(models, sizes, strict=True)
    ]
    print_table(head, rows)
    for said in (size for size in sizes if isinstance(size, str)):
        say(said)
    for failure in installed().failures:
        say(f"not loaded: {failure}")


def _size_of(model: ShippedModel) -> int | str:
    """The bytes of a model's files; why it cannot be used."""
    from ldm_core.model.files import check_shipped, size_of

    try:
        check_shipped(model)
        return size_of(model.folder)
    except LdmError as error:
        return error.message
    except OSError as error:
        return f"the model '{model.name}' of the package {model.distribution}: {error}"
