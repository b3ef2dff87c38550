"""Implicit Runge-Kutta methods on the probability-flow ODE, by iterations to a fixed point."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from ldm_core.contracts import Denoise, Grid
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum

if TYPE_CHECKING:
    from torch import Tensor


class Tableau(NamedTuple):
    """Butcher's coefficients of a method.

    Attributes:
        nodes: where the stages lie in the step, in sigma/alpha.
        matrix: what each stage weighs the slopes of all stages by.
        end: what the end weighs them by.
    """

    nodes: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    end: tuple[float, ...]


def implicit_runge_kutta(
    x: Tensor, grid: Grid, denoise: Denoise, tableau: Tableau, iterations: int
) -> Tensor:
    """Walk the grid by a tableau over s = sigma/alpha, where y = x/alpha and dy/ds = (y - x0)/s.

    The stages are linear in y and in the estimates of x0, so that for fixed estimates they are
    solved exactly, and the iteration is over the estimates alone. All begin as that at the step's
    start. Each iteration raises the order by one, up to the tableau's, and takes one evaluation a
    stage, which the stages after it see. Steps from pure noise (alpha = 0), and to none, are
    Euler's, of one evaluation.
    """
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        if here.alpha == 0 or there.sigma == 0:
            x = move(x, x0, here, there)
            continue
        length = there.ratio - here.ratio
        points = [
            there if c == 1 else grid.schedule.at_ratio(here.ratio + c * length)
            for c in tableau.nodes
        ]
        *stages, end = _weights(tableau, here, there)
        estimates = [x0] * len(points)
        for _ in range(iterations):
            for i, (point, weights) in enumerate(zip(points, stages, strict=True)):
                estimates[i] = denoise(_at(point, weights, here, x, estimates), point)
        x = _at(there, end, here, x, estimates)
    return x


def _at(
    point: Point, weights: tuple[float, ...], here: Point, x: Tensor, estimates: list[Tensor]
) -> Tensor:
    kept, *others = weights
    terms = zip(others, estimates, strict=True)
    return weighted_sum(
        (point.alpha / here.alpha * kept, x), *((point.alpha * w, x0) for w, x0 in terms)
    )


@lru_cache(maxsize=4096)
def _weights(tableau: Tableau, here: Point, there: Point) -> tuple[tuple[float, ...], ...]:
    """Of each stage, and of the end: what y and the stages' estimates are weighed by.

    With the slopes (Y - x0)/s of all stages, Y = y + h·A·(Y - x0)/s, which is solved for Y.
    """
    import numpy as np

    h = there.ratio - here.ratio
    inverse = 1 / (here.ratio + h * np.array(tableau.nodes))  # of s at the stages
    slopes = h * np.array(tableau.matrix) * inverse
    count = len(tableau.nodes)
    right = np.column_stack([np.ones(count), -slopes])
    stages = np.linalg.solve(np.eye(count) - slopes, right)
    ends = h * np.array(tableau.end) * inverse
    end = ends @ (stages - np.eye(count, count + 1, 1)) + np.eye(1, count + 1)[0]
    return tuple(tuple(row) for row in [*stages.tolist(), end.tolist()])
