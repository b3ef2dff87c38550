"""``ldm recipe``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ldm_core.cli.asking import AllowHubOption, hub_for
from ldm_core.cli.choices import SetOption, gather
from ldm_core.cli.tables import print_table
from ldm_core.composition.compose import compose
from ldm_core.composition.noise import KEY as NOISE
from ldm_core.composition.recipe import LISTS, STAGES
from ldm_core.media.json_text import json_text
from ldm_core.model.hub_permission import hub_permission
from ldm_core.model.lora import strength_in_words
from ldm_core.plugins.registry import installed
from ldm_core.plugins.schemas import as_json as as_json_values

app = typer.Typer(no_args_is_help=True)


@app.command("check")
def check_recipe(
    recipe: Annotated[Path, typer.Argument(help="A recipe file (TOML).")],
    set_: SetOption = None,
    allow_hub: AllowHubOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a recipe against the installed plugins and its model, and print it in full."""
    with hub_permission(hub_for(set_ or [], allow_hub)):
        composition = compose(gather(recipe, {}, set_), installed())
    full = composition.recipe
    if as_json:
        composition.grid(full["num_inference_steps"])
        typer.echo(json_text(as_json_values(full)))
        return
    rows = [
        (key, str(value), "") for key, value in full.items() if not isinstance(value, dict | list)
    ]
    rows += [("loras", e["path"], strength_in_words(e)) for e in full.get("loras", [])]
    for key in (NOISE, *STAGES, *LISTS):
        entries = full.get(key, [])
        for entry in entries if isinstance(entries, list) else [entries]:
            options = ", ".join(f"{k} = {v}" for k, v in entry.items() if k != "name")
            rows.append((key, entry["name"], options))
    print_table(("key", "choice", "options"), rows)
    composition.grid(full["num_inference_steps"])
