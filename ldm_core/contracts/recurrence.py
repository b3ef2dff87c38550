"""A scheduler as a recurrence: from one evaluation of the denoiser to the next.

A trace is unrolled to the first x, and keeps every estimate alive. Here a walk is read as what it
does between two evaluations: of the values that it made before and still uses, of the new estimate
and of the noise that it draws, it makes the next x and what it uses later. Which those are follows
from a record of its arithmetic, as a compiler finds out which registers are live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ldm_core.contracts.scheduler import Scheduler, Walk, as_scheduler
from ldm_core.contracts.trace import not_linear
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.linear_form import NOT_LINEAR, Linear
from ldm_core.numerics.point import Point


@dataclass(frozen=True)
class Stretch:
    """What a walk makes between two evaluations.

    Attributes:
        rows: of each value made, the coefficients of the values that were there before, of the
            estimate, and of each noise that is drawn meanwhile. The first row is the next x, or
            the end.
        noises: how many times noise is drawn.
    """

    rows: tuple[tuple[float, ...], ...]
    noises: int


@dataclass(frozen=True)
class Recurrence:
    """A walk in stretches.

    Attributes:
        start: before the first evaluation; it has no estimate, and what was there before is x.
        points: where the denoiser is asked.
        steps: after each evaluation.
    """

    start: Stretch
    points: tuple[Point, ...]
    steps: tuple[Stretch, ...]

    @property
    def width(self) -> int:
        """The most values that it has at once."""
        return max(len(stretch.rows) for stretch in (self.start, *self.steps))

    @property
    def noises(self) -> int:
        """The most noise that it draws between two evaluations."""
        return max((stretch.noises for stretch in self.steps), default=0)


@dataclass(eq=False)
class _Value(Linear):
    """A value of a walk: the sum of earlier ones, or something new where there are none.

    Attributes:
        stretch: in which it was made.
    """

    book: _Book = field(repr=False)
    parts: tuple[tuple[_Value, float], ...]
    stretch: int

    def plus(self, other: _Value) -> _Value:
        return self.book.write((self, 1.0), (other, 1.0))

    def times(self, factor: float) -> _Value:
        return self.book.write((self, factor))


class _Book:
    """Keeps every value of a walk, in the order in which they are made."""

    def __init__(self) -> None:
        self.values: list[_Value] = []
        self.asked: list[tuple[Point, _Value]] = []
        self.noises: set[_Value] = set()
        self.estimates: list[_Value] = []

    def write(self, *parts: tuple[_Value, float]) -> _Value:
        value = _Value(self, parts, len(self.asked))
        self.values.append(value)
        return value

    def denoise(self, x: _Value, point: Point) -> _Value:
        if not isinstance(x, _Value):
            raise TypeError("the denoiser is asked for something else than x")
        self.asked.append((point, x))
        self.estimates.append(self.write())
        return self.estimates[-1]

    def noise(self) -> _Value:
        value = self.write()
        self.noises.add(value)
        return value


def recurrence(scheduler: Scheduler | Walk, grid: Grid) -> Recurrence:
    """Read a scheduler as a recurrence on a grid.

    Raises:
        LdmError: it is not linear in x, the estimates and the noise.
    """
    book = _Book()
    first = book.write()
    walk = cast(Any, as_scheduler(scheduler).walk)
    try:
        end = walk(first, grid, book.denoise, book.noise)
        if not isinstance(end, _Value):
            raise TypeError("it ends with something else than x")
    except NOT_LINEAR as error:
        raise not_linear(error) from error
    heads = [x for _, x in book.asked] + [end]
    last = _last_uses(book, heads)
    made: list[list[_Value]] = [[] for _ in heads]
    for value in book.values:
        made[value.stretch].append(value)
    before: list[_Value] = [first]
    stretches = []
    for i, head in enumerate(heads):
        estimate = book.estimates[i - 1 : i] if i else []
        drawn = [value for value in made[i] if value in book.noises]
        forms = _forms(made[i], [*before, *estimate, *drawn])
        live = {value: None for value in (*before, *made[i]) if last.get(value, -1) > i}
        after = [head, *(value for value in live if value is not head)]
        stretches.append(Stretch(tuple(tuple(forms[value]) for value in after), len(drawn)))
        before = after
    return Recurrence(stretches[0], tuple(point for point, _ in book.asked), tuple(stretches[1:]))


def _last_uses(book: _Book, heads: Sequence[_Value]) -> dict[_Value, int]:
    """The last stretch in which each value is used for what comes out; of those that are."""
    useful = set(heads)
    last: dict[_Value, int] = {}
    for value in reversed(book.values):
        if value in useful:
            for part, _ in value.parts:
                useful.add(part)
                last[part] = max(last.get(part, -1), value.stretch)
    for stretch, head in enumerate(heads):  # an x may be asked for again as it is
        last[head] = max(last.get(head, -1), stretch)
    return last


def _forms(made: Sequence[_Value], basis: Sequence[_Value]) -> dict[_Value, list[float]]:
    """The coefficients in a basis of what it holds, and of what is made of that."""
    forms = {v: [float(i == j) for j in range(len(basis))] for i, v in enumerate(basis)}
    for value in made:
        parts = [(forms.get(part), factor) for part, factor in value.parts]
        if value in forms or not parts or any(form is None for form, _ in parts):
            continue  # of no use, where it is made of what is kept no longer
        total = [0.0] * len(basis)
        for form, factor in parts:
            total = [t + factor * c for t, c in zip(total, form or (), strict=True)]
        forms[value] = total
    return forms
