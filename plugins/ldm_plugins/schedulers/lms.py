"""Linear multistep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise, starts_with
from ldm_plugins.schedulers.shared.adams_bashforth import adams_bashforth
from ldm_plugins.schedulers.shared.noise_estimates import multistep
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor


@starts_with(karras_start)
def lms(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, order: Literal[1, 2, 3, 4] = 4
) -> Tensor:
    """Linear multistep, Adams-Bashforth on uneven steps (Liu et al. 2022, arXiv:2202.09778, 3.2).

    The latest noise estimates are interpolated by a polynomial in sigma/alpha, which is integrated
    exactly (Hairer et al. 1993, Solving Ordinary Differential Equations I, Section III.5).

    Args:
        order: how many estimates it goes through, 1 to 4; fewer in the first steps.
    """
    return multistep(x, grid, denoise, [order] * (len(grid) - 1), adams_bashforth)
