"""Distances of schedulers to a fine reference, all from one start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from ldm_core.arguments import checks_arguments
from ldm_core.composition.composition import Composition
from ldm_core.conformance.checks import NotApplicable
from ldm_core.conformance.examples import example_inputs
from ldm_core.conformance.gaussian import SCHEDULES
from ldm_core.conformance.walks import info_of
from ldm_core.contracts import Seed
from ldm_core.errors import LdmError
from ldm_core.values import brief
from ldm_pipelines.convergence.orders import Order, measured_order
from ldm_pipelines.convergence.stretches import (
    Data,
    Spacing,
    Stretch,
    last_stretch,
    stretch_between,
    whole_way,
)
from ldm_pipelines.convergence.subjects import (
    Named,
    OnGaussian,
    OnModel,
    Subject,
    Walked,
    distance,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.run.pipeline import Pipeline

STEPS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
REFERENCE = 1000
BY = "ldm-core:dpmpp_3m"
"""The scheduler of the reference: of order three, one evaluation a step."""
GAUSSIAN = (-4.0, 4.0)
"""The log-SNR where walks on Gaussian data begin and end."""
FEWEST_REFERENCE = 4


@dataclass(frozen=True)
class Row:
    """One walk.

    Attributes:
        distance: of its end to the reference's, root mean square, over that of the reference's end.
        evaluations: of the denoiser; under guidance each asks the network for several branches.
        seconds: of the walk, as it was timed once.
    """

    steps: int
    distance: float
    evaluations: int
    seconds: float


@dataclass(frozen=True)
class Curve:
    """A scheduler on a stretch.

    Attributes:
        declared: the order that its record declares, or None.
        order: that which was measured.
        notes: what was done to it, such as noise that was turned off.
    """

    scheduler: str
    declared: float | None
    order: Order
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measured:
    """All schedulers on a stretch.

    Attributes:
        reference: what the distances are to, in words.
        error: how far it is itself from where the exact walk ends, at most, as it is estimated.
    """

    stretch: Stretch
    reference: str
    error: float
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Convergence:
    """What was measured.

    Attributes:
        subject: what was walked on, in words.
        inputs: what the network was told.
    """

    subject: str
    inputs: Mapping[str, Any]
    stretches: tuple[Measured, ...]

    def table(self) -> list[dict[str, Any]]:
        """A row for each walk."""
        return [
            {
                "stretch": measured.stretch.name,
                "scheduler": curve.scheduler,
                "steps": row.steps,
                "evaluations": row.evaluations,
                "seconds": row.seconds,
                "distance": row.distance,
                "reference_error": measured.error,
                "order": curve.order.value,
                "declared_order": curve.declared,
            }
            for measured in self.stretches
            for curve in measured.curves
            for row in curve.rows
        ]


@checks_arguments
def converge(
    pipe: Pipeline,
    schedulers: Sequence[Any] | None = None,
    *,
    steps: Sequence[int] = STEPS,
    reference: int | None = None,
    gaussian: Data | None = None,
    first: float | None = None,
    last: float | None = None,
    spacing: Spacing = "log-snr",
    inputs: Mapping[str, Any] | None = None,
    num_images: int = 1,
    seed: Seed = 0,
    tell: Callable[[str], None] | None = None,
) -> Convergence:
    """How far schedulers end from a fine reference, all from one start, and their orders.

    Every scheduler walks the same points, from one x to one end between which there is noise at
    both ends; the points that it would choose by itself, and its own start, have no part in it.
    Where neither end is said, a model is walked on twice: the whole way, and its last stretch,
    where steps are short enough for orders to show.

    Args:
        schedulers: names, tables with options, or what a recipe takes in Python; the pipeline's own
            where left out.
        steps: numbers of steps, rising.
        reference: steps of the reference; 1000 where left out, and on Gaussian data the exact
            solution.
        gaussian: Gaussian data in place of the model: on its "own" noise schedule, or on another.
        first, last: log-SNR of the ends.
        spacing: what the steps are even in.
        inputs: of the images, as of a call; examples where left out.
        num_images: whose distances are taken together.
        seed: of the first image; the next ones count up.
        tell: hears of what is being done.
    Raises:
        LdmError: a scheduler that draws noise on the way, or only walks points of its own; ends
            outside the noise schedule; or what a run of the pipeline would refuse.
    """
    _check_steps(steps, reference)
    pipe = pipe.replace(observers=[])
    named = _named(pipe, schedulers)
    subject, told = _subject(pipe, gaussian, inputs, num_images, seed)
    if first is not None or last is not None or gaussian is not None:
        if gaussian is not None:
            first = GAUSSIAN[0] if first is None else first
            last = GAUSSIAN[1] if last is None else last
        stretches = [stretch_between(subject.schedule, first, last, spacing)]
    else:
        stretches = [f(subject.schedule, spacing) for f in (whole_way, last_stretch)]
    by = _one(pipe, {"name": BY})
    say = tell or (lambda line: None)
    measured = [_measured(subject, s, named, tuple(steps), reference, by, say) for s in stretches]
    return Convergence(subject.name, told, tuple(measured))


def _check_steps(steps: Sequence[int], reference: int | None) -> None:
    if not steps or any(n < 1 for n in steps) or sorted({*steps}) != [*steps]:
        raise LdmError("numbers of steps are from 1 on, and rise.", "4:64 means 4, 6, 8, ... 64.")
    if reference is not None and reference < max(FEWEST_REFERENCE, 2 * steps[-1]):
        raise LdmError(
            f"a reference of {reference} steps is not fine beside walks of {steps[-1]}; it should "
            f"have {max(FEWEST_REFERENCE, 2 * steps[-1])} at least.",
            "10 times as many are better.",
        )
    if reference is None and 2 * steps[-1] > REFERENCE:
        raise LdmError(f"walks of {steps[-1]} steps want a reference of {10 * steps[-1]}.")


def _named(pipe: Pipeline, schedulers: Sequence[Any] | None) -> list[Named]:
    own = [pipe.recipe["scheduler"]]
    named = [_one(pipe, one) for one in (own if schedulers is None else schedulers)]
    if not named:
        raise LdmError("no scheduler is named.", "`ldm plugins list --kind scheduler` shows them.")
    for name in (names := [one.name for one in named]):
        if names.count(name) > 1:
            raise LdmError(f"the scheduler {name} is named twice.")
    return named


def _one(pipe: Pipeline, choice: Any) -> Named:
    """A scheduler in place of the pipeline's own, without noise on the way.

    Raises:
        LdmError: it draws noise whatever is said, or only walks points of its own.
    """
    table = dict(choice) if isinstance(choice, Mapping) else {"name": choice}
    found, notes = pipe.composition.registry, []
    name = table.get("name")
    if isinstance(name, str) and "eta" in found.find("scheduler", name).options:
        if table.setdefault("eta", 0.0) != 0:
            raise LdmError(
                f"'{name}' with eta = {table['eta']} draws noise on the way, and so ends elsewhere "
                "with each seed.",
                "leave eta out, and it is 0.",
            )
        notes.append("without noise, eta = 0")
    # an empty choice before, so that no option of the pipeline's own scheduler is kept
    composed = pipe.replace(scheduler="ldm-core:euler").replace(scheduler=table)
    scheduler = composed.composition.scheduler
    words = _in_words(table)
    if scheduler.points is not None:
        raise LdmError(
            f"'{words}' only walks points of its own, and not those that all are to walk.",
            "`ldm plugins list --kind scheduler` shows the others.",
        )
    if scheduler.stochastic and "eta" not in table:
        raise LdmError(
            f"'{words}' draws noise on the way, and so ends elsewhere with each seed: its distance "
            "to one end means nothing.",
            "`ldm plugins list --kind scheduler` shows the others.",
        )
    return Named(words, composed, tuple(notes))


def _in_words(table: Mapping[str, Any]) -> str:
    name = table.get("name")
    text = name if isinstance(name, str) else name.__name__ if isfunction(name) else brief(name)
    options = [f"{k}={v}" for k, v in table.items() if k not in ("name", "eta")]
    return f"{text}({', '.join(options)})" if options else text


def _subject(
    pipe: Pipeline,
    gaussian: Data | None,
    inputs: Mapping[str, Any] | None,
    num_images: int,
    seed: int,
) -> tuple[Subject, Mapping[str, Any]]:
    composition = pipe.composition
    if num_images < 1:
        raise LdmError(f"there is one image at least, not {num_images}.")
    if gaussian == "own":
        return OnGaussian(
            f"on the noise schedule of {composition.info.source}", composition.info
        ), {}
    if gaussian is not None:
        return OnGaussian(f"on a {gaussian} path", info_of(SCHEDULES[gaussian])), {}
    told = {**_examples(composition, num_images), **(inputs or {})}
    plan = composition.plan(told, list(range(seed, seed + num_images)))
    return OnModel(pipe, plan), {name: v for name, v in told.items() if v is not None}


def _examples(composition: Composition, num_images: int) -> dict[str, Any]:
    """Examples of what the model must be told."""
    required = [name for name, one in composition.inputs.items() if one.required]
    if not required:
        return {}
    try:
        values = example_inputs(composition)
    except NotApplicable:
        return {}
    return {n: [values[n][i % len(values[n])] for i in range(num_images)] for n in required}


def _measured(
    subject: Subject,
    stretch: Stretch,
    named: Sequence[Named],
    steps: tuple[int, ...],
    reference: int | None,
    by: Named,
    say: Callable[[str], None],
) -> Measured:
    say(f"{stretch.name}: {stretch}")
    x = _start(subject, stretch, by, reference or REFERENCE)
    exact = subject.solution(x, stretch.start, stretch.end) if reference is None else None
    if exact is not None:
        end, error, words = exact, 0.0, "the exact solution"
    else:
        count = reference or REFERENCE
        say(f"reference: {count} steps of {by.name}, and {count // 2}")
        end = subject.walk(by, stretch.grid(count), x).end
        half = subject.walk(by, stretch.grid(count // 2), x).end
        error, words = distance(half, end), f"{count} steps of {by.name}"
    curves = []
    for one in named:
        say(f"{one.name}: {', '.join(map(str, steps))} steps")
        rows = tuple(_row(subject.walk(one, stretch.grid(n), x), n, end) for n in steps)
        order = measured_order(steps, [row.distance for row in rows], error)
        curves.append(Curve(one.name, one.scheduler.order, order, rows, one.notes))
    return Measured(stretch, words, error, tuple(curves))


def _row(walked: Walked, steps: int, end: Tensor) -> Row:
    return Row(steps, distance(walked.end, end), walked.evaluations, walked.seconds)


def _start(subject: Subject, stretch: Stretch, by: Named, count: int) -> Tensor:
    """The one x from which all walk: where the stretch does not begin at the noise, what the noise
    becomes on a fine walk to there."""
    whole = whole_way(subject.schedule, stretch.spacing)
    if not stretch.start.ratio < whole.start.ratio:
        return subject.start(stretch.start)
    x = subject.start(whole.start)
    exact = subject.solution(x, whole.start, stretch.start)
    if exact is not None:
        return exact
    before = Stretch("before", subject.schedule, whole.start, stretch.start, stretch.spacing)
    return subject.walk(by, before.grid(max(count // 4, 2)), x).end.to(x)
