"""DDPM, on any subset of the training timesteps."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import (
    Denoise,
    Grid,
    Noise,
    Scheduler,
    learned_variance,
    needs_learned_variance,
    of_order,
    stochastic,
)
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum
from ldm_plugins.shared.ancestral_step import ancestral_step

if TYPE_CHECKING:
    from torch import Tensor

Variance = Literal[
    "fixed_small",
    "fixed_small_log",
    "fixed_large",
    "fixed_large_log",
    "learned",
    "learned_range",
]


def ddpm(
    *, variance: Variance = "fixed_small", last: Literal["drawn", "mean"] = "drawn"
) -> Scheduler:
    """Ancestral sampling (Ho et al. 2020, arXiv:2006.11239, Alg. 2; learned variance Nichol &
    Dhariwal 2021, arXiv:2102.09672, Eq. 15).

    Each step draws about the mean of q(x_there | x_here, x0), Ho et al.'s Eq. 7. A step to the
    clean end draws nothing.

    Args:
        variance: of the noise drawn at each step. "fixed_small" is that of q(x_there | x_here, x0),
            "fixed_large" that of q(x_here | x_there); those with "_log" are the same, named as
            in models' configs. "learned_range" lies between the two where the network says,
            "learned" is the exponential of what it says.
        last: whether the last step to an end that is not clean draws noise too, or stays at the
            mean, as that of Würstchen and Stable Cascade does.
    """

    @stochastic
    @of_order(1)
    def walk(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
        for here, there in pairwise(grid):
            x0 = denoise(x, here)
            step = ancestral_step(here, there)
            terms = [(step.kept, x), (step.toward, x0)]
            if there.sigma == 0 or (last == "mean" and there is grid[-1] and not grid.after):
                x = weighted_sum(*terms)
                continue
            deviation = _deviation(variance, here, there, step.deviation, denoise)
            if isinstance(deviation, float):
                x = weighted_sum(*terms, (deviation, noise()))
            else:
                x = weighted_sum(*terms) + deviation * noise()
        return x

    return needs_learned_variance(walk) if variance.startswith("learned") else walk


def _deviation(
    variance: Variance, here: Point, there: Point, least: float, denoise: Denoise
) -> float | Tensor:
    """Standard deviation of the noise of a step.

    Args:
        least: that of q(x_there | x_here, x0).
    """
    if variance.startswith("fixed_small"):
        return least
    large = here.sigma**2 - (here.alpha / there.alpha * there.sigma) ** 2
    small = large * (there.sigma / here.sigma) ** 2
    if variance.startswith("fixed_large"):
        return math.sqrt(large)
    output = learned_variance(denoise)
    if output is None:
        raise LdmError(
            f"no variance reached ddpm, which variance='{variance}' asks for: the network predicts "
            "no variance, or a scheduler around ddpm hands on a denoiser of its own, which loses "
            "it.",
            "choose variance='fixed_small'; or hand on, in that scheduler, "
            "VariancePredicting(own, lambda: learned_variance(denoise)) of ldm_core.contracts, "
            "which keeps it.",
        )
    if variance == "learned":
        return (output / 2).exp()
    share = (output + 1) / 2
    return ((share * math.log(large) + (1 - share) * math.log(small)) / 2).exp()
