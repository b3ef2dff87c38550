"""Radau's method IIA of two stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, of_order, starts_with
from ldm_plugins.schedulers.shared.implicit_runge_kutta import Tableau, implicit_runge_kutta
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor

TABLEAU = Tableau(
    nodes=(1 / 3, 1.0), matrix=((5 / 12, -1 / 12), (3 / 4, 1 / 4)), end=(3 / 4, 1 / 4)
)
"""Hairer & Wanner 1996, Table IV.5.5 of order three."""


@starts_with(karras_start)
@of_order(3)
def radau_iia_2s(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    iterations: Annotated[int, Field(ge=1, le=100)] = 2,
) -> Tensor:
    """The implicit Runge-Kutta method at Radau's two right nodes, over sigma/alpha (Hairer & Wanner
    1996, Solving Ordinary Differential Equations II, Section IV.5), by iterations to a fixed point.

    Two iterations reach its order, three, with five evaluations a step: one, and two an iteration.
    Steps from pure noise, and to none, are Euler's.

    Args:
        iterations: with one the order is two; with more than two, each step comes nearer to the
            implicit method's, which errs less where steps are long.
    """
    return implicit_runge_kutta(x, grid, denoise, TABLEAU, iterations)
