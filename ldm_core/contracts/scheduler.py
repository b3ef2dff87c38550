"""Schedulers: walk a noisy latent along a grid of points."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ldm_core.arguments import checks_arguments
from ldm_core.contracts.family import ModelInfo
from ldm_core.contracts.record import Record, as_record, check_takes
from ldm_core.contracts.spacing import Choose, Spacing
from ldm_core.errors import LdmError
from ldm_core.numerics.callables import Denoise, Noise
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


class Walk(Protocol):
    """``walk(x, grid, denoise, noise) -> x`` carries x along the grid to its end.

    ``denoise(x, point)`` estimates x0; noise comes from ``noise()`` alone. The grid is a tuple of
    points that also knows their schedule, see `ldm_core.numerics.grid.Grid`.
    """

    def __call__(self, x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor: ...


StartRule = Callable[[Point, Point], float]
"""The standard deviation of the first x, from the grid's first point and the schedule's noisiest
one."""

OwnPoints = Spacing | Choose
"""``points(schedule, steps)``: the only points that a scheduler can walk. Those that depend on how
large the picture is are a `Spacing` that sees the latent."""

SpacingRule = Callable[[ModelInfo], str | Mapping[str, Any] | None]
"""The spacing that goes with a scheduler on a model, by name or as a table; None for the model's
own."""


PURE_NOISE = 0.0011


def unit_variance(first: Point, last: Point) -> float:
    """sqrt(alpha² + sigma²) at the first point: right for data of unit variance.

    Where a path ends in no signal at all, as flow does, its last thousandth counts as pure noise;
    Diffusers' multistep classes start there.
    """
    if last.alpha == 0 and first.alpha < PURE_NOISE:
        return math.hypot(last.alpha, last.sigma)
    return math.hypot(first.alpha, first.sigma)


@dataclass(frozen=True, eq=False)
class Scheduler(Record):
    """A walk and its traits. A plain function becomes one by `as_scheduler`.

    Attributes:
        walk: the algorithm.
        start: the standard deviation of the first x.
        points: its own points, in place of a spacing; None where it walks any grid.
        spacing: which spacing goes with it where a person chooses the scheduler and no spacing.
        order: of convergence, as its author says: on the probability-flow ODE, or of a stochastic
            one of its samples' mean and spread; the conformance kit measures it.
        stochastic: it may draw noise on the way.
        needs_variance: it reads `learned_variance`; models that predict none are refused.
        linear: in x, the x0 estimates and the noise, so that it has a table of coefficients; False
            of one that says it is not.
    """

    takes: ClassVar[tuple[str, ...]] = ("x", "grid", "denoise", "noise")

    walk: Walk
    start: StartRule = unit_variance
    points: OwnPoints | None = None
    spacing: SpacingRule | None = None
    order: float | None = None
    stochastic: bool = False
    needs_variance: bool = False
    linear: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order is not None and self.order <= 0:
            raise LdmError(f"the order of a Scheduler should be above 0, not {self.order:g}.")
        rules: dict[str, tuple[Any, tuple[str, ...]]] = {
            "start": (self.start, ("first", "last")),
            "spacing": (self.spacing, ("info",)),
        }
        if not isinstance(self.points, Spacing):
            rules["points"] = (self.points, ("schedule", "steps"))
        for name, (rule, arguments) in rules.items():
            if rule is not None:
                check_takes(rule, arguments, f"Scheduler's '{name}'")

    def __call__(self, x: Any, grid: Grid, denoise: Any, noise: Any, **options: Any) -> Any:
        return self.walk(x, grid, denoise, noise, **options)

    @property
    def function(self) -> Callable[..., Any]:
        return self.walk

    def with_function(self, function: Callable[..., Any]) -> Scheduler:
        return replace(self, walk=function)

    @staticmethod
    def around(
        name: str, walk: Callable[..., Walk], *inner: Scheduler | Walk, whole: bool = False
    ) -> Scheduler:
        """A scheduler that walks by others, with every trait of theirs.

        It starts as the first of them does and wants the same spacing; it is stochastic, or needs
        the network's variance, where one of them is or does; it is fitted to a model by fitting
        them. No order follows from theirs.

        Args:
            name: of the new one, for messages.
            walk: ``walk(*inner)``, its walk, made of those of the others once they are fitted.
            whole: each inner one walks the very grid that the outer one is given, so that one
                with points of its own can be among them; else they walk parts of it, or others.
        Raises:
            LdmError: one of them only walks points of its own, and others are to be walked.
        """
        parts = tuple(as_scheduler(part) for part in inner)
        if not parts:
            raise LdmError(f"'{name}' walks by other schedulers, and is given none.")
        own = [part.points for part in parts if part.points is not None]
        if own and not (whole and len(parts) == 1):
            raise LdmError(
                f"'{name}' walks parts of a grid, and the scheduler inside it only walks points of "
                "its own.",
                "`ldm plugins list --kind scheduler` shows the others.",
            )

        def fit(info: ModelInfo) -> Scheduler:
            fitted = (part.fitted(info) for part in parts)
            return replace(Scheduler.around(name, walk, *fitted, whole=whole), fit=None)

        outer = walk(*parts)  # which may be one of them as it is, whose traits are carried below
        return Scheduler(
            walk=outer.walk if isinstance(outer, Scheduler) else outer,
            start=parts[0].start,
            points=own[0] if own else None,
            spacing=parts[0].spacing,
            stochastic=any(part.stochastic for part in parts),
            needs_variance=any(part.needs_variance for part in parts),
            linear=all(part.linear for part in parts),
            fit=fit if any(part.fit is not None for part in parts) else None,
        )


def as_scheduler(part: Scheduler | Walk) -> Scheduler:
    """The record of a scheduler; `LdmError` for what cannot be called."""
    return as_record(Scheduler, part, "a scheduler is a function (x, grid, denoise, noise)")


def _with(scheduler: Scheduler | Walk, **traits: Any) -> Scheduler:
    """The record with other traits, which it keeps when it is fitted to a model."""
    record = as_scheduler(scheduler)
    again = None if record.fit is None else lambda info: _with(record.fitted(info), **traits)
    return replace(record, **traits, fit=again)


@checks_arguments
def starts_with(rule: StartRule) -> Callable[[Scheduler | Walk], Scheduler]:
    """Say the standard deviation of a scheduler's first x."""
    return lambda scheduler: _with(scheduler, start=rule)


@checks_arguments
def of_order(order: float) -> Callable[[Scheduler | Walk], Scheduler]:
    """Say a scheduler's order of convergence."""
    return lambda scheduler: _with(scheduler, order=order)


@checks_arguments
def goes_with(
    spacing: str | Mapping[str, Any] | SpacingRule,
) -> Callable[[Scheduler | Walk], Scheduler]:
    """Say which spacing goes with a scheduler where none is chosen: by name, as a table, or by a
    function of the model."""
    rule: SpacingRule = spacing if callable(spacing) else lambda info: spacing
    return lambda scheduler: _with(scheduler, spacing=rule)


def stochastic(scheduler: Scheduler | Walk) -> Scheduler:
    """Say that a scheduler may draw noise on the way."""
    return _with(scheduler, stochastic=True)


def needs_learned_variance(scheduler: Scheduler | Walk) -> Scheduler:
    """Say that a scheduler reads `learned_variance`; models that predict none are refused."""
    return _with(scheduler, needs_variance=True)


def nonlinear(scheduler: Scheduler | Walk) -> Scheduler:
    """Say that a scheduler is not linear in x, the x0 estimates and the noise, such as one that
    chooses its steps by what it sees."""
    return _with(scheduler, linear=False)
