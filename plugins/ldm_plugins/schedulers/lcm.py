"""Latent consistency models."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, stochastic
from ldm_core.numerics.point import CLEAN
from ldm_plugins.schedulers.shared.renoise import renoise

if TYPE_CHECKING:
    from torch import Tensor

Positive = Annotated[float, Field(gt=0)]


@stochastic
def lcm(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    sigma_data: Positive = 0.5,
    timestep_scaling: Positive = 10.0,
) -> Tensor:
    """Multistep sampling of latent consistency models (Luo et al. 2023, arXiv:2310.04378).

    Each estimate goes straight to the data and is noised up to the next point. For networks that
    were distilled so, on the points of the spacing `lcm`.

    Near the clean end x itself is more and more of the answer: c_skip·x + c_out·x0, with
    c_skip = d²/(τ² + d²) and c_out = τ/sqrt(τ² + d²) of d = sigma_data and τ = timestep_scaling·t.
    Here t is the trained timestep that the network was told, as in the distillation's code; on a
    continuous path it counts thousandths, which on rectified flow is 1000·sigma.

    Args:
        sigma_data: the standard deviation d that the scaling was trained with.
        timestep_scaling: the larger, the nearer to the clean end x comes in.
    """
    schedule = grid.schedule
    unit = 1.0 if schedule.discrete else 1000 / (schedule.last - schedule.first + 1)
    for here, there in pairwise(grid):
        tau = timestep_scaling * here.t * unit
        c_skip = sigma_data**2 / (tau**2 + sigma_data**2)
        c_out = tau / math.hypot(tau, sigma_data)
        x = renoise(c_skip * x + c_out * denoise(x, here), CLEAN, there, noise)
    return x
