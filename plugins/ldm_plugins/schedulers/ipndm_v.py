"""iPNDM on uneven steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_plugins.schedulers.shared.adams_bashforth import adams_bashforth
from ldm_plugins.schedulers.shared.noise_estimates import multistep

if TYPE_CHECKING:
    from torch import Tensor


def ipndm_v(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, order: Literal[1, 2, 3, 4] = 4
) -> Tensor:
    """`ipndm` with the weights of Adams and Bashforth on uneven steps (Zhang & Chen 2022,
    arXiv:2204.13902, appendix on iPNDM; on uneven steps Zhou et al. 2024, arXiv:2312.00094).

    Its steps are those of `lms`, but for the one to no noise, which is of order one. The second
    paper's code has a bracket at another place in the weights of three estimates and four, which
    are Adams and Bashforth's on even steps alone. One evaluation a step.

    Args:
        order: how many noise estimates are weighed, 1 to 4; fewer in the first steps.
    """
    orders: list[int] = [order] * (len(grid) - 1)
    if orders and grid[-1].sigma == 0:
        orders[-1] = 1
    return multistep(x, grid, denoise, orders, adams_bashforth)
