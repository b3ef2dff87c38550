"""At which calls features that were kept are computed anew, though there are some."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ldm_core.contracts import Run, Scheduler
from ldm_core.errors import LdmError
from ldm_plugins.converters.shared.kept_features import Due, Seen

if TYPE_CHECKING:
    from ldm_core.conformance.trace import Trace
    from ldm_core.numerics.grid import Grid


class Span(NamedTuple):
    """The part of the steps, of all of which 1 is the end, within which features are used again."""

    start: float
    stop: float

    def holds(self, step: int, steps: int) -> bool:
        """Whether features may be used again in this interval of the grid."""
        return self.start <= step / steps < self.stop


def evenly(every: int, span: Span) -> Due:
    """One of every so many calls."""

    def due(seen: Seen) -> bool:
        assert seen.age is not None
        return seen.age >= every or not span.holds(seen.row.step, seen.row.steps)

    return due


def coefficients(scheduler: Scheduler, grid: Grid, name: str) -> Trace:
    """A scheduler's coefficients.

    Args:
        name: of the converter, for messages.
    Raises:
        LdmError: it is not linear, and has none.
    """
    from ldm_core.conformance.trace import trace

    try:
        return trace(scheduler, grid)
    except LdmError as error:
        raise LdmError(
            f"{name} cannot choose by this scheduler: {error.message}",
            'choose = "evenly" asks nothing of it.',
        ) from error


def by_scheduler(run: Run, every: int, span: Span, name: str) -> Due:
    """The calls for which the final latents err least, as many as every so many would be.

    Args:
        name: of the converter, for messages.
    Raises:
        LdmError: the run names no scheduler, or one that is not linear.
    """
    from ldm_core.numerics.grid import intervals_behind
    from ldm_plugins.converters.shared import reuse_plan

    if run.scheduler is None:
        raise LdmError(f"{name} chooses by the scheduler, and this run names none.")
    traced = coefficients(run.scheduler, run.grid, name)
    steps = max(len(run.grid) - 1, 1)
    points = [call.point for call in traced.calls]
    free = [span.holds(intervals_behind(run.grid, point), steps) for point in points]
    kind = run.model.info.prediction_type
    chosen = reuse_plan.calls_to_compute(traced, kind, every, free)
    places: set[tuple[object, int]] = set()
    for number in chosen:
        places.add((points[number], points[:number].count(points[number])))
    all_places = {(point, points[:i].count(point)) for i, point in enumerate(points)}

    def due(seen: Seen) -> bool:
        place = (seen.row.point, seen.times)
        return place in places or place not in all_places

    return due
