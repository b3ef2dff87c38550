"""What the schedulers share that extrapolate the noise estimate (x - alpha·x0)/sigma."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from numpy.polynomial import Polynomial
    from torch import Tensor


def noise_in(x: Tensor, x0: Tensor, point: Point) -> Tensor:
    """The noise that an x0 estimate leaves in x."""
    return (x - point.alpha * x0) / point.sigma


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
    moved = move(x, x0, here, there)
    for weight, estimate in list(zip(weights, estimates, strict=True))[1:]:
        scale = weight * there.alpha * (there.ratio - here.ratio)
        moved = moved + scale * (estimate - estimates[0])
    return moved


def lagrange(nodes: Sequence[float]) -> list[Polynomial]:
    """The polynomials that are one at their own node and zero at the others."""
    from numpy.polynomial import Polynomial

    basis = []
    for j, node in enumerate(nodes):
        product = Polynomial([1.0])
        for k, other in enumerate(nodes):
            if k != j:
                product *= Polynomial([-other, 1.0]) / (node - other)
        basis.append(product)
    return basis
