"""``ldm compare``."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from ldm_core.cli.asking import hub_for
from ldm_core.cli.choices import DrawingChoices, check_folder, prepare_libraries
from ldm_core.cli.ends import say
from ldm_core.cli.inputs import check_inputs, gather_inputs, with_full_paths
from ldm_core.cli.jobs import Report, carry_out
from ldm_core.cli.seeing import check_seen, job_seen
from ldm_core.cli.streams import print_line
from ldm_core.cli.tables import print_table
from ldm_core.cli.workers import starter
from ldm_core.composition.compose import compose
from ldm_core.composition.composition import Composition
from ldm_core.composition.recipe import Layer
from ldm_core.contracts import Seed
from ldm_core.contracts.files import OutputPath
from ldm_core.errors import LdmError
from ldm_core.jobs.columns import SAME
from ldm_core.jobs.folder import JobFolder
from ldm_core.jobs.processes import processes, started_by
from ldm_core.media.json_text import json_text
from ldm_core.model.hub_permission import hub_permission
from ldm_core.model.launched import apart, starting
from ldm_core.plugins.registry import installed
from ldm_pipelines.comparing.against import psnr_to, read_against
from ldm_pipelines.comparing.axes import SHORT, Axis, Names, checked_axes, parted, read_axis
from ldm_pipelines.comparing.cells import Plan
from ldm_pipelines.comparing.comparison import Comparison, comparison_of
from ldm_pipelines.comparing.layout import count_of_pages
from ldm_pipelines.comparing.opening import extent_in_all, open_job, plan_of
from ldm_pipelines.comparing.sheet import least_size
from ldm_pipelines.comparing.tables import grid, text_of
from ldm_pipelines.comparing.written import Files
from ldm_pipelines.evaluating.choices import Chosen, names_in, parse
from ldm_pipelines.evaluating.columns import chosen_for_cells, columns_of

SHOWN = 10
"""Reasons of refused cells that are printed before anything is made; the rest stands in the
table."""


def compare(
    *prompts: str,
    choices: DrawingChoices,
    over: list[str] | None = None,
    against: str | None = None,
    metrics: list[str] | None = None,
    input: list[str] | None = None,
    negative_prompt: str | None = None,
    seed: Seed = 0,
    num_images: Annotated[int, Field(ge=1)] = 1,
    batch_size: Annotated[int, Field(ge=1)] = 8,
    out: OutputPath = Path("comparison"),
    format: str | None = None,
    sheet: OutputPath | None = None,
    table: OutputPath | None = None,
    page: OutputPath | None = None,
    resume: bool = False,
    workers: Annotated[int, Field(ge=1)] | None = None,
    json: bool = False,
) -> None:
    """Make the same pictures with each choice of values, and show them side by side.

    Cells that cannot be made are shown with the reason. It is a job: the same command goes on with
    what is missing in its folder.

    Args:
        prompts: What to draw, where the model takes a prompt; each cell draws all of them.
        choices: What holds in all cells.
        over: An axis, as scheduler=euler,ddim or guidance.scale=2,4: any key of a recipe or input;
            values with commas stand in quotes or brackets; repeatable.
        against: A cell, as scheduler=ddim,steps=50, from which the distance of the others is
            measured (PSNR in dB, where no metrics are named).
        metrics: What each cell is measured by, as of ldm evaluate: names with commas between, such
            as psnr,ssim against that cell, or clip:model=MODEL against the prompts; repeatable.
        input: Another input of the model, as class_label=3; repeatable.
        negative_prompt: What the pictures should not show.
        seed: Seed of the first picture of each cell; the next ones count up.
        num_images: Pictures of each prompt in each cell.
        batch_size: Pictures of a cell computed at once.
        out: Folder for the pictures.
        format: Name of a writer, the format of the files.
        sheet: A contact sheet, a .png, .jpg or .webp file: the first axis down, the second across,
            and a file each, NAME-2 and on, for the values of further axes and other pictures.
        table: A table with a line for each cell, a .csv, .json or .md file.
        page: A page, a .html file with all pictures in it and a slider between two of them.
        resume: Insist that the folder holds this comparison already.
        workers: Start so many processes.
        json: Print events and cells as JSON.
    """
    prepare_libraries()
    check_said(over or [], choices)
    with apart() as process:
        base, layer, axes = composed(over or [], choices)
        negative = {} if negative_prompt is None else {"negative_prompt": negative_prompt}
        inputs = with_full_paths(gather_inputs(input or [], negative), base)
        plan = plan_of(axes, prompts or (None,), inputs, num_images, seed)
        check_needed(base, plan, inputs)
        reference = None if against is None else plan.find(read_against(against))
        measured = measures_of(base, metrics, reference is not None)
        least = least_size(plan, extent_in_all(base, plan))
        files = Files(sheet, table, page, choices.overwrite, count_of_pages(plan), least)
        check_folder(out)
        check_seen(choices, {"--sheet": sheet, "--table": table, "--page": page})
        seen = job_seen(choices, out, processes(workers))
        files.check(again=JobFolder(out).record() is not None)
        start = starter("local", workers)
        with starting(workers or 1):
            job = open_job(
                plan, base, layer, inputs, out, batch_size=batch_size, format=format,
                resume=resume and started_by() is None, processes=processes(workers), seen=seen,
            )  # fmt: skip
        if seen is not None and started_by() is None and not choices.quiet:
            say("note: the seconds of the cells hold what it takes to show them as they form")
        report = partial(CompareReport, plan)
        code = carry_out(job, start, json, quiet=choices.quiet, kind=report)
        if started_by() is None and (process is None or process.rank == 0):
            compared = comparison_of(job, plan)
            cell = None if reference is None else compared.cells[reference]
            if measured:
                columns = columns_of(measured, cell, choices.device or "auto")
                with hub_permission(hub_for(names_in(parse(metrics or [])))):
                    compared = compared.with_columns(columns)
            elif cell is not None:
                compared = compared.with_columns(psnr_to(cell))
            show(compared, json)
            for path in files.write(compared):
                print_line(
                    json_text({"event": "written", "path": str(path)}) if json else str(path)
                )
    if code:
        raise typer.Exit(code)


def measures_of(base: Composition, metrics: list[str] | None, has_reference: bool) -> list[Chosen]:
    """The metrics that are named; none where none are.

    Raises:
        LdmError: there is no such metric, or what is drawn is no picture.
    """
    if not metrics:
        return []
    if {*base.info.latents.names} != {"height", "width"}:
        raise LdmError("metrics are of pictures, and this model draws none.")
    tables = parse(metrics)
    with hub_permission(hub_for(names_in(tables))):
        return chosen_for_cells(tables, has_reference, base.registry)


def check_said(over: list[str], choices: DrawingChoices) -> None:
    """See that no axis is also said by an option, which it would take the place of.

    Raises:
        LdmError: one is.
    """
    given = {name for name, value in asdict(choices).items() if value not in (None, False)}
    said = {SHORT.get(name, SAME.get(name, name)): name for name in given - {"recipe", "set"}}
    said |= {setting.partition("=")[0].strip(): "set" for setting in choices.set or []}
    said |= dict.fromkeys(["width", "height"], "size") if "size" in given else {}
    for text in over:
        name = parted(text)[0].replace("-", "_")
        path = SHORT.get(name, SAME.get(name, name))
        for other, flag in said.items():
            if path == other or other.startswith(f"{path}."):  # an option that goes with the plugin
                flag = f"--{flag.replace('_', '-')}"
                raise LdmError(
                    f"'{other}' is given twice: {flag} says it, and the axis '{name}' takes its "
                    "place.",
                    f"leave out {flag}"
                    + (f", or make it an axis too: --over {other}=VALUE" if path != other else "."),
                )


def composed(
    over: list[str], choices: DrawingChoices
) -> tuple[Composition, Layer, tuple[Axis, ...]]:
    """The composition on which axes lie, with its choices, and the axes. Where models are compared,
    it is of the first that can be had.

    Raises:
        LdmError: an axis is none, or there is no such model.
    """
    layer, registry = choices.layer(), installed()
    models = [v for text in over if (one := parted(text))[0] == "model" for v in one[1]]
    bases: list[Composition] = []
    errors: list[LdmError] = []
    wanted: list[str | None] = [*models] or [None]
    for model in wanted:
        try:
            bases.append(compose(layer if model is None else {**layer, "model": model}, registry))
        except LdmError as error:
            errors.append(error)
    if not bases:
        raise errors[0]
    names = Names.of(bases)
    axes = checked_axes([read_axis(text, names) for text in over])
    return bases[0], {**layer, "model": bases[0].chosen["model"]}, axes


def check_needed(base: Composition, plan: Plan, inputs: dict[str, Any]) -> None:
    """See that the model has all that it needs, and no prompt that it does not read.

    Raises:
        LdmError: it has not.
    """
    if any(prompt is not None and not prompt.strip() for prompt in plan.prompts):
        raise LdmError("a prompt is empty; say what the picture should show.")
    prompts = {"prompt": plan.prompts[0]} if plan.prompts[0] is not None else {}
    axes = {one.key: one.values[0] for one in plan.axes if one.key in base.inputs}
    check_inputs(base, {**inputs, **prompts, **axes})


class CompareReport(Report):
    """Prints what is heard of a comparison's job, by its cells."""

    def __init__(self, plan: Plan, *arguments: Any, **named: Any) -> None:
        self._plan = plan
        super().__init__(*arguments, **named)

    def bad(self) -> str:
        reasons = {self._plan.cell(line.index): line.reason for line in self.job.asked.bad}
        shown = [f"{cell}: {reason}" for cell, reason in reasons.items()]
        more = [f"and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
        are = "cell is" if len(shown) == 1 else "cells are"
        return "\n  ".join([f"{len(shown)} {are} refused:", *shown[:SHOWN], *more])

    def place(self, number: int) -> str:
        return self._plan.name(number - 1)


def show(compared: Comparison, json: bool) -> None:
    """Print the table of cells."""
    if json:
        for row in compared.table():
            print_line(json_text({"event": "cell", **row}))
        return
    head, rows = grid(compared)
    print_table(head, [[text_of(value) for value in row] for row in rows])
