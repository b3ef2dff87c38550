"""``ldm tune``."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field

from ldm_core.cli.choices import check_folder
from ldm_core.cli.inputs import gather_inputs
from ldm_core.cli.streams import print_line
from ldm_core.cli.tables import print_table
from ldm_core.composition.composition import Composition
from ldm_core.composition.recipe import Layer
from ldm_core.composition.short_names import with_full_ids
from ldm_core.composition.toml_text import as_toml
from ldm_core.contracts.files import OutputPath
from ldm_core.errors import LdmError
from ldm_core.media.json_text import json_text
from ldm_core.media.names import check_new, write_whole
from ldm_core.plugins.schemas import as_json

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline
    from ldm_core.run.trials import Trial
    from ldm_core.run.tuning import Tuned

SUFFIX = ".toml"


def tune(
    pipe: Pipeline,
    *prompts: str,
    input: list[str] | None = None,
    lossy: bool = False,
    only: list[str] | None = None,
    rounds: Annotated[int, Field(ge=1, le=1000)] = 5,
    limit: Annotated[float, Field(gt=0)] | None = None,
    batch_size: Annotated[int, Field(ge=1)] = 1,
    out: OutputPath = Path("tuned.toml"),
    overwrite: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> Iterator[Path]:
    """Measure which converters and attention kernels make a run faster here, and write the recipe.

    Each is tried in turns with the pipeline as it is; those that pay are put together as long as
    the whole gets faster. Other programs on the machine make the figures worse: let it be quiet.
    All runs are of the same prompts, so that what saves something only where a prompt comes again,
    as text_cache does, cannot be measured and is left out.

    Args:
        prompts: What is drawn meanwhile; the figures depend little on it.
        input: Another input of the model, as class_label=3, or how long what it makes is, as
            frames=25 or samples=44100; repeatable.
        lossy: Also take what moves the picture; by how much is said.
        only: Name of a converter or attention kernel that is tried, in place of all; repeatable.
        rounds: Of each comparison; the median counts.
        limit: Seconds that the first run with a converter may take, in which programs are compiled;
            what takes longer is left. As long as 20 runs take, and 30 s at least, where left out.
        batch_size: Images at once.
        out: The recipe that is written, a .toml file.
        overwrite: Replace a file of that name.
        quiet: Print the whole alone, and no trial by itself.
        json: Print one JSON object for each trial, and one for the whole with the recipe's path.
    """
    if out.suffix.lower() != SUFFIX:
        raise LdmError(f"the recipe '{out}' should be a {SUFFIX} file.")
    check_new(out, overwrite=overwrite)
    check_folder(out.parent)
    if not out.parent.is_dir():
        raise LdmError(f"there is no folder '{out.parent}' for the recipe.")
    from ldm_core.run.tuning import tune as measure

    pipe = pipe.replace(observers=[])
    composition = pipe.composition
    inputs = gather_inputs(input or [], {})
    if prompts:
        if "prompt" in inputs:
            raise LdmError("'prompt' is given twice.", "leave out the one or the other.")
        inputs["prompt"] = [prompts[n % len(prompts)] for n in range(batch_size)]
    axes = composition.info.latents.names
    extent = composition.extent({name: inputs.pop(name) for name in axes if name in inputs})
    plan = composition.plan(inputs, list(range(batch_size)), extent)
    composition.batches(plan, batch_size)

    def tell(trial: Trial) -> None:
        if quiet:
            return
        if json:
            typer.echo(json_text(_record(trial)))
        else:
            print_line(f"tried {trial.name}: {trial.verdict or f'{trial.factor:.2f} of the time'}")

    def say(text: str) -> None:
        if not quiet:
            print_line(text, error=True)

    tuned = measure(
        pipe, plan, lossy=lossy, only=only or (), rounds=rounds, limit=limit, tell=tell, say=say
    )
    if not any(math.isfinite(trial.factor) for trial in tuned.trials):
        raise LdmError(
            "nothing was measured: what could be tried does not run here, or is in the recipe.",
            "`ldm plugins list --kind converter` shows what there is.",
        )
    if not json:
        _print(tuned)
    text = as_toml(_recipe(pipe.composition, tuned), _about(tuned, batch_size))
    write_whole(out, lambda path: path.write_text(text, encoding="utf-8"), overwrite=overwrite)
    if json:
        whole = {"factor": tuned.factor, "seconds": tuned.seconds, "error": tuned.error}
        typer.echo(json_text({"path": str(out), **as_json(whole)}))
    else:
        yield out


def _record(trial: Trial) -> dict[str, Any]:
    """A trial as JSON has it; null for what was not measured."""
    numbers = {"factor": trial.factor, "first_seconds": trial.first, "error": trial.error}
    measured = {n: value if math.isfinite(value) else None for n, value in numbers.items()}
    return {"tried": trial.name, **measured, "verdict": trial.verdict}


def _recipe(composition: Composition, tuned: Tuned) -> Layer:
    """What the person chose, with what is faster."""
    chosen = {key: value for key, value in composition.chosen.items() if key != "observers"}
    found = tuned.pipe.composition.chosen
    chosen |= {key: found[key] for key in ("converters", "attention") if key in found}
    return with_full_ids(chosen, composition.registry)


def _about(tuned: Tuned, batch_size: int) -> Iterator[str]:
    yield f"Measured by `ldm tune` on {_machine()}."
    yield (
        f"A run of batch {batch_size} took {tuned.seconds:.2f} s; with this recipe "
        f"{tuned.factor:.2f} of that, final latents {tuned.error:.1e} of their deviation apart."
    )


def _machine() -> str:
    import torch

    packages = ", ".join(f"{name} {version(name)}" for name in ("ldm-core", "torch", "diffusers"))
    name = platform.machine()
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {packages}"


def _print(tuned: Tuned) -> None:
    rows = [
        (
            trial.name,
            _number(trial.factor, ".2f"),
            _number(trial.first, ".1f"),
            _number(trial.error, ".1e"),
            trial.verdict,
        )
        for trial in tuned.trials
    ]
    print_table(("choice", "time", "first run, s", "latents apart", ""), rows)
    print_line(f"together {tuned.factor:.2f} of the time of {tuned.seconds:.2f} s")


def _number(value: Any, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)
