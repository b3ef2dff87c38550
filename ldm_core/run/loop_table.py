"""A run as tables: what each step of its walk does, in numbers that a program is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_core.composition.linear import NOISES, VALUES, estimate
from ldm_core.contracts import Bound
from ldm_core.contracts.recurrence import Recurrence, Stretch
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import PredictionType

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Table(NamedTuple):
    """What each of n evaluations does.

    Attributes:
        points: where the denoiser is asked.
        branches: which ones are asked there.
        rows: (n, VALUES, VALUES + NOISES + 1), of each value after a step the coefficients of those
            before it, of the noise drawn in it, and of the estimate.
        t: (n, 1) training timesteps.
        answers: (n, 1 + the most branches), the coefficients of x and of each branch's answer in
            the estimate.
        noises: how many times noise is drawn in each.
    """

    points: Sequence[Point]
    branches: Sequence[tuple[str, ...]]
    rows: Tensor
    t: Tensor
    answers: Tensor
    noises: Sequence[int]


def start_of(walk: Recurrence, x: Tensor, noise: Callable[[], Tensor]) -> Tensor:
    """The values before the first evaluation, (VALUES, batch, ...)."""
    values = x.new_zeros(VALUES, *x.shape)
    given = [x, *(noise() for _ in range(walk.start.noises))]
    for value, row in zip(values, walk.start.rows, strict=False):
        for coefficient, part in zip(row, given, strict=True):
            value += coefficient * part
    return values


def table(
    walk: Recurrence,
    guidance: Bound,
    prediction_type: PredictionType,
    order: Callable[[tuple[str, ...]], Sequence[str]],
    device: torch.device,
) -> Table:
    """The numbers of a run.

    Args:
        order: ``order(branches)``, in which the branches are answered.
    Raises:
        LdmError: as of `estimate`.
    """
    import torch

    branches = [guidance.branches(point) for point in walk.points]
    most = max(map(len, branches), default=1)
    answers = []
    for point, names in zip(walk.points, branches, strict=True):
        terms = estimate(guidance, point, prediction_type)
        row = [terms["x"], *(terms[name] for name in order(names))]
        answers.append([*row, *[0.0] * (1 + most - len(row))])
    before, rows = walk.start, []
    for step in walk.steps:
        rows.append(_padded(step, len(before.rows)))
        before = step

    def tensor(values: Sequence[Any]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).to(device)

    return Table(
        points=walk.points,
        branches=branches,
        rows=tensor(rows),
        t=tensor([[point.t] for point in walk.points]),
        answers=tensor(answers),
        noises=[step.noises for step in walk.steps],
    )


def _padded(step: Stretch, before: int) -> list[list[float]]:
    """The rows of a step in the columns of `Table.rows`."""
    rows = []
    for row in step.rows:
        kept, estimate, noises = row[:before], row[before], row[before + 1 :]
        left = [0.0] * (VALUES - before), [0.0] * (NOISES - step.noises)
        rows.append([*kept, *left[0], *noises, *left[1], estimate])
    return rows + [[0.0] * (VALUES + NOISES + 1)] * (VALUES - len(rows))
