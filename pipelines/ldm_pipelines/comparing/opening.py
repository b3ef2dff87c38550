"""A comparison as a job that is checked, before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.composition.composition import Composition
from ldm_core.composition.limits import MOST_IMAGES
from ldm_core.composition.recipe import Layer
from ldm_core.contracts import Extent
from ldm_core.errors import LdmError
from ldm_core.jobs.job import Job
from ldm_pipelines.comparing.axes import Axis
from ldm_pipelines.comparing.cells import Plan
from ldm_pipelines.comparing.making import CompareMaking

if TYPE_CHECKING:
    from ldm_core.jobs.seeing import Seen
    from ldm_core.run.pipeline import Pipeline


def plan_of(
    axes: tuple[Axis, ...],
    prompts: Sequence[str | None],
    inputs: Mapping[str, Any],
    num_images: int,
    seed: int,
) -> Plan:
    """What is compared, seen to say nothing twice.

    Args:
        prompts: that are not on an axis; None for none.
        inputs: alike in all cells.
    Raises:
        LdmError: it does, or there are more pictures than a job takes.
    """
    said = {*inputs, *(["prompt"] if any(prompt is not None for prompt in prompts) else [])}
    for one in axes:
        if one.path in said:
            raise LdmError(
                f"'{one.path}' is given twice: it is an axis, and the same in all cells too.",
                "leave out the one or the other; an axis may have one value.",
            )
    plan = Plan(axes, tuple(prompts) or (None,), num_images, seed)
    count = plan.of_each
    for one in axes:
        count *= len(one.values)
    if count > MOST_IMAGES:
        raise LdmError(f"these are {count:,} pictures, and a job takes {MOST_IMAGES:,}.")
    return plan


def extent_in_all(base: Composition, plan: Plan) -> Extent:
    """How large the pictures of all cells are; nothing where cells may differ in that, or none can
    be made."""
    if {"model", "extent", *base.info.latents.names} & {one.key for one in plan.axes}:
        return {}
    try:
        return base.extent()
    except LdmError:  # which is said of each cell
        return {}


def open_job(
    plan: Plan,
    base: Composition,
    choices: Layer,
    inputs: Mapping[str, Any],
    out: Path,
    *,
    batch_size: int = 8,
    format: str | None = None,
    resume: bool = False,
    pipe: Pipeline | None = None,
    processes: int = 1,
    seen: Seen | None = None,
) -> Job:
    """The job of a comparison, whose bad lines are the pictures of cells that are refused.

    Args:
        base: of the choices.
        choices: of a recipe, on which axes lie.
        seen: shows pictures as they form.
    Raises:
        LdmError: nothing can be made, or the folder holds another job.
    """
    return Job.open(
        plan.lines(),
        out,
        choices=choices,
        inputs=inputs,
        seed=plan.seed,
        batch_size=batch_size,
        format=format,
        skip_bad=True,
        resume=resume,
        registry=base.registry,
        making=CompareMaking(),
        base=base,
        processes=processes,
        pipe=pipe,
        seen=seen,
        about=plan.about,
    )
