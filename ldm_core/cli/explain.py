"""``ldm explain``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from ldm_core.cli.choices import PipelineChoices, prepare_libraries
from ldm_core.cli.inputs import flags_of
from ldm_core.cli.plot import check_plot, draw, save
from ldm_core.cli.streams import print_line
from ldm_core.cli.tables import print_table
from ldm_core.composition.compose import compose
from ldm_core.composition.composition import Composition
from ldm_core.composition.limits import in_words
from ldm_core.composition.stages import options_in_words, stages_of, value_in_words
from ldm_core.conformance.trace import trace
from ldm_core.contracts import Extent, OutputPath
from ldm_core.contracts.latents import describe as describe_extent
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media.json_text import json_text
from ldm_core.model import place as placement
from ldm_core.model.lora import strength_in_words
from ldm_core.plugins.registry import installed

WIDEST = 12
QUANTISED = " Weights are counted as they are in the files: 'quantize' makes them smaller."


def explain(
    choices: PipelineChoices,
    *,
    batch_size: Annotated[int, Field(ge=1)] = 1,
    layers: bool = False,
    plot: OutputPath | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Show what a run would do: every stage, the grid, and the scheduler's coefficients.

    No weights are read. With --memory it also shows where they would lie, and what is expected;
    with an attention kernel that is chosen, which layers it reaches.

    Args:
        batch_size: Images computed at once, for --memory.
        layers: Also count the layers of attention, whatever kernel is chosen.
        plot: Also draw grid and coefficients: a .png, .svg or .pdf file.
        overwrite: Replace a file of the plot's name.
        json: Print one JSON object.
    """
    if plot is not None:
        check_plot(plot, overwrite=overwrite)
    prepare_libraries()
    composition = compose(choices.layer(), installed())
    report = describe(composition)
    if "memory" in composition.recipe:
        from ldm_core.run.memory.plan import Planner

        planner = Planner.of(composition)
        report["memory"] = planner.made(planner.example(batch_size)).as_table()
        if any(converter.reading is not None for converter in composition.converters):
            report["memory"]["why"] += QUANTISED
    if layers or composition.attention.members or not composition.attention.native:
        from ldm_core.cli.attention import describe_attention

        report["attention"] = describe_attention(composition)
    if json:
        typer.echo(json_text(report, indent=2))
    else:
        _print(report)
        if "attention" in report:
            from ldm_core.cli.attention import print_attention

            print_attention(report["attention"])
    if plot is not None:
        save(draw(report), plot, overwrite=overwrite)
        print_line(f"plot: {plot.resolve()}", error=json)


def _paths(folders: Mapping[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in folders.items()}


def _print(report: dict[str, Any]) -> None:
    about = report["model"]
    typer.echo(
        f"model {about['source']}, family {about['family']}, predicts {about['prediction_type']}"
    )
    for name, path in about.get("components", {}).items():
        typer.echo(f"its {name} is that in {path}")
    place, size = report["place"], extent_in_words(report["extent"])
    compute = place["compute_dtype"]
    if compute == place["dtype"] and " " in compute:
        compute = "the same"
    typer.echo(
        f"draws {size}; device {place['device']}, weights kept in {place['dtype']}, "
        f"computing in {compute}"
    )
    for line in report["mixed"]:
        typer.echo(line)
    if "memory" in report:
        _print_memory(report["memory"])
    if report["noise"]:
        typer.echo(f"noise {value_in_words(report['noise'])}")
    for lora in report["loras"]:
        typer.echo(f"LoRA {lora['path']}, {strength_in_words(lora)}")
    if report["inputs"]:
        typer.echo("")
        rows = [
            (i["flag"], "(required)" if i["required"] else str(i["default"]), i["help"])
            for i in report["inputs"]
        ]
        print_table(("input", "default", "what it says"), rows)
    typer.echo("")
    head = ("stage", "plugin", "package", "options", "chosen by")
    stages = [
        (
            s["stage"],
            s["name"],
            s["package"],
            options_in_words(s["options"])
            if s["used"]
            else "(not used: the scheduler has its own points)",
            s["chosen_by"],
        )
        for s in report["stages"]
    ]
    print_table(head, stages)
    typer.echo(f"\ngrid of {report['num_inference_steps']} steps by {report['grid_by']}")
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


def _print_memory(plan: dict[str, Any]) -> None:
    parts = ", ".join(f"{name} {in_words(size)}" for name, size in plan["weights"].items())
    free = ", which is free" if plan["free_on_device"] else ""
    images = f" for {plan['images']} at once" if plan["images"] > 1 else ""
    typer.echo(f"memory of {in_words(plan['budget'])}{free}{images}; weights: {parts}")
    ways = [{**plan, "fits": True, "chosen": True}, *plan["others"]]
    rows = [
        (
            way["name"],
            in_words(way["expected_peak"]),
            way["at"],
            "chosen" if way.get("chosen") else "fits" if way["fits"] else "too large",
            "" if way["lossless"] else "pictures change a little",
        )
        for way in ways
    ]
    print_table(("placement", "expected peak", "when this computes", "", ""), rows)
    typer.echo(plan["why"])


def describe(composition: Composition) -> dict[str, Any]:
    """A composition as plain data: model, stages, grid and coefficient table."""
    info, recipe = composition.info, composition.recipe
    steps, extent = recipe["num_inference_steps"], composition.extent()
    grid = composition.grid(steps, extent)
    own_points = composition.scheduler.points is not None
    table: dict[str, Any] | None = None
    not_linear = ""
    try:
        walk = trace(composition.scheduler, grid)
    except LdmError as error:
        not_linear = str(error)
    else:
        forms = [*(call.x for call in walk.calls), walk.end]
        if not all(math.isfinite(value) for form in forms for value in form.terms.values()):
            whose = composition.owners.called(composition.scheduler, "the scheduler")
            what = "gives coefficients that are not finite (NaN or infinite)"
            warnings.warn(LdmWarning(f"{whose} {what}, and so is what it draws."), stacklevel=2)
        rows = [*((call.point.t, call.x) for call in walk.calls), (grid[-1].t, walk.end)]
        table = {
            "symbols": walk.symbols,
            "rows": [{"t": t, "coefficients": [x[s] for s in walk.symbols]} for t, x in rows],
        }
    return {
        "model": {
            "source": info.source,
            "folder": str(info.folder),
            **({"components": _paths(info.components)} if info.components else {}),
            "family": info.family,
            "prediction_type": info.prediction_type.name,
            "noise_schedule": type(info.noise_schedule).__name__,
            **_size(info.default_extent),
        },
        **_size(extent),
        "extent": extent,
        "place": placement.describe(recipe),
        "mixed": _mixed(composition),
        "noise": recipe.get("noise"),
        "loras": recipe.get("loras", []),
        "inputs": [
            {
                "flag": flag,
                "name": name,
                "required": one.required,
                "default": None if one.required else one.default,
                "each": one.each,
                "help": one.help,
            }
            for flag, (name, one) in zip(
                flags_of(composition.inputs), composition.inputs.items(), strict=True
            )
        ],
        "num_inference_steps": steps,
        "stages": stages_of(composition),
        "grid_by": str(recipe["scheduler" if own_points else "spacing"]["name"]),
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


def _mixed(composition: Composition) -> list[str]:
    """Which parts are kept or computed with in another type than the others, a line each."""
    lines = [c.reading for c in composition.converters if c.reading is not None]
    compute = placement.describe(composition.recipe)["compute_dtype"]
    if "float16" in compute.replace("bfloat16", ""):
        where = "" if compute == "float16" else ", where the others compute in float16"
        lines += [
            f"the {n} computes in float32{where}" for n in sorted(composition.info.wide_parts)
        ]
    return lines


def _size(extent: Extent) -> dict[str, list[int]]:
    """Width and height of a picture; nothing else has them."""
    return {"size": [extent["width"], extent["height"]]} if "width" in extent else {}


def extent_in_words(extent: Mapping[str, int]) -> str:
    """A picture as width x height, anything else by its axes."""
    return describe_extent(extent).removeprefix("the size ")


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _number(value: float) -> float | str:
    """JSON has no infinity; it becomes text, "inf" or "-inf"."""
    return value if math.isfinite(value) else str(value)
