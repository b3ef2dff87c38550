"""``ldm explain``."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

import typer

from ldm_core.cli.choices import (
    DEFAULT_MODEL,
    AttentionOption,
    GuidanceOption,
    GuidanceScaleOption,
    ModelOption,
    RecipeOption,
    SchedulerOption,
    SetOption,
    SpacingOption,
    StepsOption,
    gather,
    with_scale,
)
from ldm_core.cli.tables import print_table
from ldm_core.compose import Composition, compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from ldm_core.recipe import LISTS, STAGES
from ldm_core.trace import trace

WIDEST = 12


def explain(
    model: ModelOption = None,
    recipe: RecipeOption = None,
    scheduler: SchedulerOption = None,
    spacing: SpacingOption = None,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    guidance_scale: GuidanceScaleOption = None,
    attention: AttentionOption = None,
    set_: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a run would do: every stage, the grid, and the scheduler's coefficients.

    No weights are read.
    """
    choices = {
        "model": model,
        "scheduler": scheduler,
        "spacing": spacing,
        "guidance": with_scale(guidance, guidance_scale),
        "attention": attention,
        "num_inference_steps": steps,
    }
    layer = gather(recipe, choices, set_)
    layer.setdefault("model", DEFAULT_MODEL)
    report = describe(compose(layer, installed()))
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    about = report["model"]
    typer.echo(
        f"model {about['source']}, family {about['family']}, predicts {about['prediction_type']}\n"
    )
    head = ("stage", "plugin", "package", "options", "chosen by")
    stages = [
        (s["stage"], s["name"], s["package"], _options(s["options"]), s["chosen_by"])
        for s in report["stages"]
    ]
    print_table(head, stages)
    typer.echo(f"\ngrid of {report['num_inference_steps']} steps")
    points = [
        (str(i), *(_short(p[key]) for key in ("t", "alpha", "sigma", "log_snr")))
        for i, p in enumerate(report["grid"])
    ]
    print_table(("point", "t", "alpha", "sigma", "log-SNR"), points)
    table = report["table"]
    if table is None:
        typer.echo(f"\n{report['not_linear']}")
        return
    typer.echo(f"\n{len(table['rows']) - 1} evaluations of the network; x at each, and at the end,")
    typer.echo("as a sum of the start x, the x0 estimates and the noise")
    if len(table["symbols"]) > WIDEST:
        typer.echo(f"(the table has {len(table['symbols'])} columns: --json prints it)")
        return
    print_table(
        ("t", *table["symbols"]),
        [(_short(row["t"]), *map(_short, row["coefficients"])) for row in table["rows"]],
    )


def describe(composition: Composition) -> dict[str, Any]:
    """A composition as plain data: model, stages, grid and coefficient table."""
    info, recipe = composition.info, composition.recipe
    steps = recipe["num_inference_steps"]
    grid = composition.grid(steps)
    table: dict[str, Any] | None = None
    not_linear = ""
    try:
        found = trace(composition.scheduler, grid)
    except LdmError as error:
        not_linear = str(error)
    else:
        rows = [*((call.point.t, call.x) for call in found.calls), (grid[-1].t, found.end)]
        table = {
            "symbols": found.symbols,
            "rows": [{"t": t, "coefficients": [x[s] for s in found.symbols]} for t, x in rows],
        }
    return {
        "model": {
            "source": info.source,
            "folder": str(info.folder),
            "family": info.family,
            "prediction_type": info.prediction_type,
            "noise_schedule": type(info.noise_schedule).__name__,
            "size": list(info.default_size),
        },
        "num_inference_steps": steps,
        "stages": _stages(composition),
        "grid": [
            {
                "t": point.t,
                "alpha": point.alpha,
                "sigma": point.sigma,
                "log_snr": _number(2 * point.half_log_snr),
            }
            for point in grid
        ],
        "table": table,
        "not_linear": not_linear,
    }


def _stages(composition: Composition) -> list[dict[str, Any]]:
    stages = []
    plugins = {(plugin.kind, plugin.name): plugin for plugin in composition.plugins}
    plugins |= {(plugin.kind, plugin.id): plugin for plugin in composition.plugins}
    for key in (*STAGES, *LISTS):
        entries = composition.recipe.get(key, [])
        for entry in entries if isinstance(entries, list) else [entries]:
            plugin = plugins.get((LISTS.get(key, key), entry["name"]))
            given = {k: v for k, v in entry.items() if k != "name"}
            options = {} if plugin is None else {n: o.default for n, o in plugin.options.items()}
            stages.append(
                {
                    "stage": key,
                    "name": str(entry["name"]),
                    "package": "" if plugin is None else f"{plugin.distribution} {plugin.version}",
                    "options": {**options, **given},
                    "chosen_by": "you" if key in composition.chosen else "model",
                }
            )
    return stages


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items())


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _number(value: float) -> float | str:
    """JSON has no infinity; it becomes text, "inf" or "-inf"."""
    return value if math.isfinite(value) else str(value)
