"""DPM-Solver++ for the SDE, single-step with a middle."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Noise, of_order, starts_with, stochastic
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.moves import ancestral_move
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor


@starts_with(karras_start)
@of_order(2)
@stochastic
def dpmpp_sde(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    eta: Annotated[float, Field(ge=0, le=1)] = 1.0,
) -> Tensor:
    """DPM-Solver++ SDE, the midpoint rule in log-SNR along a path of the reverse SDE (Lu et al.
    2022, arXiv:2211.01095, Section 5; in this form Crowson's k-diffusion).

    Two evaluations a step. The noise that leads to the middle is a part of the whole step's, as it
    is along one path. Steps from pure noise (alpha = 0), and to none, have no middle in log-SNR and
    are ancestral ones.

    Args:
        eta: share of the noise drawn anew at each step; 0 is deterministic.
    """
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        if here.alpha == 0 or there.sigma == 0:
            x = ancestral_move(x, x0, here, there, noise, eta)
            continue
        middle = grid.between(here, there)
        to_middle, onward = (
            _along_one_path(noise, here, middle, there) if eta > 0 else (noise, noise)
        )
        ahead = ancestral_move(x, x0, here, middle, to_middle, eta)
        x = ancestral_move(x, denoise(ahead, middle), here, there, onward, eta)
    return x


def _along_one_path(noise: Noise, here: Point, middle: Point, there: Point) -> tuple[Noise, Noise]:
    """Noise from here to the middle, and from here to there: Brownian motion in sigma/alpha."""
    first, second = noise(), noise()
    share = (here.ratio - middle.ratio) / (here.ratio - there.ratio)
    whole = math.sqrt(share) * first + math.sqrt(1 - share) * second
    return lambda: first, lambda: whole
