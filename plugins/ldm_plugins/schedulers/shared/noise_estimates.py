"""What the schedulers share that extrapolate the noise estimate (x - alpha·x0)/sigma."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.numerics.callables import Denoise
from ldm_core.numerics.factor import factor
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


def noise_in(x: Tensor, x0: Tensor, point: Point) -> Tensor:
    """The noise that an x0 estimate leaves in x."""
    noise = x - factor(point.alpha, x0) * x0
    noise /= factor(point.sigma, noise)
    return noise


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
        weights, estimates: the estimate here first; the weights add up to one.
    """
    end = move(x, x0, here, there)
    length = there.ratio - here.ratio
    for weight, estimate in list(zip(weights, estimates, strict=True))[1:]:
        by = estimate - estimates[0]
        by *= factor(weight * there.alpha * length, by)
        end += by
    return end


def multistep(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    orders: Sequence[int],
    weights: Callable[[tuple[Point, ...], Point], Sequence[float]],
) -> Tensor:
    """Walk the grid by weighted means of the latest noise estimates, one evaluation a step.

    The estimate at pure noise (alpha = 0) serves its own step alone.

    Args:
        orders: how many estimates each step uses, where there are so many.
        weights: ``weights(points, there)``, of the estimates at these points, newest first, in
            the step from the first of them.
    """
    history: deque[tuple[Point, Tensor]] = deque(maxlen=max(orders, default=1))  # newest first
    for order, (here, there) in zip(orders, pairwise(grid), strict=True):
        x0 = denoise(x, here)
        latest = [(here, noise_in(x, x0, here)), *history][:order]
        mean = weights(tuple([point for point, _ in latest]), there)
        x = move_by(x, x0, here, there, mean, [estimate for _, estimate in latest])
        if here.alpha > 0:
            history.appendleft(latest[0])
    return x
