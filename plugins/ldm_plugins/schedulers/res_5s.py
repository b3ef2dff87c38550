"""RES of five stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise, of_order
from ldm_plugins.schedulers.shared.exponential_runge_kutta import (
    Phi,
    Rows,
    exponential_runge_kutta,
)

if TYPE_CHECKING:
    from torch import Tensor


@of_order(4)
def res_5s(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """The exponential Runge-Kutta method of order four in five stages (Hochbruck & Ostermann 2005,
    Explicit exponential Runge-Kutta methods for semilinear parabolic problems, Eq. 5.19), over
    lambda = ln(alpha/sigma), as the other refined exponential solvers.

    Five evaluations a step; steps from pure noise, and to none, are of order one.
    """
    return exponential_runge_kutta(x, grid, denoise, noise, _tableau)


def _tableau(phi: Phi) -> Rows:
    half, whole = phi(2, 0.5), phi(2, 1)
    both = half / 2 - phi(3, 1) + whole / 4 - phi(3, 0.5) / 2
    return (
        (0.5, ()),
        (0.5, (half,)),
        (1.0, (whole, whole)),
        (0.5, (both, both, half / 4 - both)),
        (1.0, (0.0, 0.0, 4 * phi(3, 1) - whole, 4 * whole - 8 * phi(3, 1))),
    )
