"""What the schedulers share that extrapolate the noise estimate (x - alpha·x0)/sigma."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.numerics.callables import Denoise
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum

if TYPE_CHECKING:
    from torch import Tensor

Weights = Callable[[tuple[Point, ...], Point], Sequence[float]]
"""``weights(points, there)``, of the noise estimates at these points, newest first, in the step
from the first of them; a function that is kept, such as one of a module."""


def noise_in(x: Tensor, x0: Tensor, point: Point) -> Tensor:
    """The noise that an x0 estimate leaves in x."""
    return weighted_sum((1 / point.sigma, x), (-point.alpha / point.sigma, x0))


def move_by(
    x: Tensor,
    x0: Tensor,
    here: Point,
    there: Point,
    weights: Sequence[float],
    estimates: Sequence[Tensor],
) -> Tensor:
    """Carry x from one point to another by a weighted mean of noise estimates.

    The step is DDIM's with the mean in place of the estimate here, written as a correction of
    `move`, so that it stays finite from pure noise where the estimate here is the only one.

    Args:
        weights, estimates: the estimate here first, that of x and x0; the weights add up to one.
    """
    if len(weights) == 1:
        return move(x, x0, here, there)
    length = there.alpha * (there.ratio - here.ratio)
    others = [(weight * length, e) for weight, e in zip(weights, estimates, strict=True)][1:]
    taken = sum(weight for weight, _ in others) / here.sigma  # from the estimate here
    kept = there.sigma / here.sigma
    at_x0 = there.alpha - kept * here.alpha + taken * here.alpha
    return weighted_sum((kept - taken, x), (at_x0, x0), *others)


def multistep(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    orders: Sequence[int],
    weights: Weights,
) -> Tensor:
    """Walk the grid by weighted means of the latest noise estimates, one evaluation a step.

    The estimate at pure noise (alpha = 0) serves its own step alone.

    Args:
        orders: how many estimates each step uses, where there are so many.
        weights: of the estimates in each step; they add up to one.
    """
    history: deque[tuple[Point, tuple[Tensor, Tensor]]] = deque(maxlen=max(orders, default=1) - 1)
    for order, (here, there) in zip(orders, pairwise(grid), strict=True):
        latest = [(here, (x, denoise(x, here))), *history][:order]  # newest first
        terms = _terms(weights, tuple([point for point, _ in latest]), there)
        values = [value for _, both in latest for value in both]
        x = weighted_sum(*zip(terms, values, strict=True))
        if here.alpha > 0:
            history.appendleft(latest[0])
    return x


@lru_cache(maxsize=4096)
def _terms(weights: Weights, points: tuple[Point, ...], there: Point) -> tuple[float, ...]:
    """What x and x0 at each of the points are multiplied by in the step of `move_by`."""
    here, kept = points[0], there.sigma / points[0].sigma
    terms = [kept, there.alpha - kept * here.alpha]
    for weight, point in list(zip(weights(points, there), points, strict=True))[1:]:
        length = weight * there.alpha * (there.ratio - here.ratio)
        terms[0] -= length / here.sigma
        terms[1] += length / here.sigma * here.alpha
        terms += [length / point.sigma, -length / point.sigma * point.alpha]
    return tuple(terms)
