"""Gauss and Legendre's method of two stages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, of_order, starts_with
from ldm_plugins.schedulers.shared.implicit_runge_kutta import Tableau, implicit_runge_kutta
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor

ROOT = math.sqrt(3)
TABLEAU = Tableau(
    nodes=(1 / 2 - ROOT / 6, 1 / 2 + ROOT / 6),
    matrix=((1 / 4, 1 / 4 - ROOT / 6), (1 / 4 + ROOT / 6, 1 / 4)),
    end=(1 / 2, 1 / 2),
)
"""Hairer & Wanner 1996, Table IV.5.1 of order four."""


@starts_with(karras_start)
@of_order(4)
def gauss_legendre_2s(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    iterations: Annotated[int, Field(ge=1, le=100)] = 3,
) -> Tensor:
    """The implicit Runge-Kutta method at Gauss and Legendre's two nodes, over sigma/alpha (Hairer &
    Wanner 1996, Solving Ordinary Differential Equations II, Section IV.5), by iterations to a fixed
    point.

    Three iterations reach its order, four, with seven evaluations a step: one, and two an
    iteration. Steps from pure noise, and to none, are Euler's.

    Args:
        iterations: with fewer than three the order is one more than they are; with more, each
            step comes nearer to the implicit method's, which errs less where steps are long.
    """
    return implicit_runge_kutta(x, grid, denoise, TABLEAU, iterations)
