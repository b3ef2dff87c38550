"""What can go by tables: schedulers and guidance that are linear, seen before weights are read."""

from __future__ import annotations

from typing import Any, cast

from ldm_core.composition.composition import Composition
from ldm_core.composition.fitting import BESIDE
from ldm_core.contracts import Bound, Converter, Evaluation, Guidance, Scheduler
from ldm_core.contracts.recurrence import Recurrence, recurrence
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.linear_form import NOT_LINEAR, symbol, terms_of
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import PredictionType

VALUES = 9
"""How many values a walk may keep from one step to the next; of the schedulers that ship pndm keeps
most, up to eight."""
NOISES = 2
"""How many times it may draw noise in a step."""
EDGE = "choose others, or leave the converter out that runs all steps as one program."


def check_walk(composition: Composition) -> None:
    """See that the converters of a composition can act on the runs of its scheduler.

    Raises:
        LdmError: one cannot.
        PluginError: one of another package fails.
    """
    if any(converter.by_table for converter in composition.converters):
        check_linear(composition)
    asked = [c for c in composition.converters if type(c).along is not Converter.along]
    if not asked:
        return
    grid = composition.grid(composition.recipe["num_inference_steps"])
    for converter in asked:
        with composition.owners.blamed(converter, BESIDE):
            converter.along(composition.scheduler, grid)


def check_linear(composition: Composition) -> None:
    """See that the runs of a composition can go by tables, as far as is known before one begins.

    Raises:
        LdmError: the scheduler or the guidance is not linear, or keeps too much; or something
            surrounds the denoiser.
    """
    if composition.denoisers:
        names = ", ".join(str(c["name"]) for c in composition.recipe.get("denoisers", []))
        raise LdmError(
            f"'{names}' surrounds the denoiser and sees each step, which a program for all steps "
            "has not.",
            EDGE,
        )
    grid = composition.grid(composition.recipe["num_inference_steps"])
    walk = as_recurrence(composition.scheduler, grid)
    guidance = composition.guidance
    if type(guidance).bind is not Guidance.bind:
        return  # only a run tells what it does
    bound = Bound(guidance.branches, guidance.combine)
    for point in walk.points:
        estimate(bound, point, composition.info.prediction_type)


def as_recurrence(scheduler: Scheduler, grid: Grid) -> Recurrence:
    """A scheduler as a recurrence of the size that the programs have.

    Raises:
        LdmError: it is not linear, reads more of the network than its answer, or keeps too much.
    """
    if scheduler.needs_variance:
        raise LdmError(
            "the scheduler reads the variance that the network predicts, which no table holds.",
            EDGE,
        )
    walk = recurrence(scheduler, grid)
    if walk.width > VALUES or walk.noises > NOISES:
        raise LdmError(
            f"the scheduler keeps {walk.width} values from step to step and draws noise up to "
            f"{walk.noises} times in one; a program for all steps has room for {VALUES} and "
            f"{NOISES}.",
            EDGE,
        )
    return walk


def estimate(guidance: Bound, point: Point, prediction_type: PredictionType) -> dict[str, float]:
    """The coefficients of the estimate of x0 at a point, in x and in each branch's answer.

    Raises:
        LdmError: the guidance, or the prediction type, is not linear.
    """
    names = guidance.branches(point)
    answers: Any = {name: symbol(f"answer {name}") for name in names}
    at = Evaluation(cast(Any, symbol("x")), point, prediction_type)
    try:
        form: Any = guidance.x0(answers, at)
        terms = terms_of(form, dict.fromkeys(["x", *(f"answer {name}" for name in names)]))
    except NOT_LINEAR as error:
        raise LdmError(
            "the guidance is not linear in the network's answers, as one that rescales them, so it "
            "has no table.",
            EDGE,
        ) from error
    return {name.removeprefix("answer "): value for name, value in terms.items()}
