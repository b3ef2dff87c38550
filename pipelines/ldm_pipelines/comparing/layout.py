"""How cells lie on pages: the first axis down, the second across, a page for all else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ldm_pipelines.comparing.cells import Plan
from ldm_pipelines.comparing.comparison import Cell, Comparison, Shot


@dataclass(frozen=True)
class Head:
    """What lies along one side of a page.

    Attributes:
        name: of the axis; empty for the pictures of a cell.
    """

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        title: the values that all of it shares; empty where there is one page alone.
        grid: rows of cells, each with the one of its pictures that is shown.
    """

    title: str
    down: Head
    across: Head
    grid: tuple[tuple[tuple[Cell, Shot], ...], ...]


NOTHING = Head("", ("",))
"""Down, where one axis is all."""


def pages(
    comparison: Comparison, shown: Callable[[Sequence[str]], Sequence[str]] = tuple
) -> Iterator[Page]:
    """The pages of a comparison. The pictures of a cell, where they are several, are as one more
    axis at the end.

    Args:
        shown: how the labels of an axis are written.
    """
    axes = [Head(one.name, one.labels) for one in comparison.axes]
    shots = comparison.cells[0].shots
    if len(shots) > 1:
        axes.append(Head("", tuple(map(_picture, shots))))
    axes = [Head(one.name, tuple(shown(one.labels))) for one in axes]
    if len(axes) == 1:
        axes.insert(0, NOTHING)
    by_place = {cell.place: cell for cell in comparison.cells}
    down, across, *others = axes

    def at(places: Sequence[int]) -> tuple[Cell, Shot]:
        own = places[1:] if down is NOTHING else places
        cell = by_place[tuple(own[: len(comparison.axes)])]
        return cell, cell.shots[own[-1] if len(shots) > 1 else 0]

    for rest in itertools.product(*(range(len(one.labels)) for one in others)):
        names = [head_text(one, place) for one, place in zip(others, rest, strict=True)]
        grid = tuple(
            tuple(at((row, column, *rest)) for column in range(len(across.labels)))
            for row in range(len(down.labels))
        )
        yield Page(" · ".join(filter(None, names)), down, across, grid)


def count_of_pages(plan: Plan) -> int:
    """How many pages a comparison has."""
    sizes = [len(one.values) for one in plan.axes] + [plan.of_each] * (plan.of_each > 1)
    return math.prod(sizes[2:])


def head_text(head: Head, place: int) -> str:
    """The label of a value, with the axis' name."""
    label = head.labels[place]
    return f"{head.name} = {label}" if head.name else label


def _picture(shot: Shot) -> str:
    """Which of a cell's pictures it is; a seed that is an axis' own is not the same in all."""
    seed = "" if shot.seed is None else f"seed {shot.seed}"
    return " · ".join(filter(None, [shot.prompt, seed]))


def cost(shot: Shot) -> list[str]:
    """What a picture took, in lines."""
    seconds = "" if shot.seconds is None else f"{shot.seconds:.3g} s"
    count = shot.evaluations
    asked = "" if count is None else f"{count} evaluation{'' if count == 1 else 's'}"
    lines = [", ".join(filter(None, [seconds, asked]))]
    if seconds and shot.together is not None and shot.together > 1:
        lines.append(f"a share, of {shot.together} at once")
    return [line for line in lines if line]
