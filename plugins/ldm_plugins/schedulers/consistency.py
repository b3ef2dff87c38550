"""Consistency models."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, starts_with, stochastic
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.renoise import renoise
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor

Positive = Annotated[float, Field(gt=0)]


@starts_with(karras_start)
@stochastic
def consistency(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    sigma_min: Positive = 0.002,
    sigma_data: Positive | None = None,
) -> Tensor:
    """Multistep consistency sampling (Song et al. 2023, arXiv:2303.01469, Algorithm 1).

    Each estimate goes straight to the clean end, which consistency models put at a noise ratio
    of sigma_min, and is noised up to the next point.

    Args:
        sigma_min: the noise ratio sigma/alpha at which a consistency model's answer lies.
        sigma_data: unset, what the network says is the answer. Set, the network is taken to be
            preconditioned as EDM's (Karras et al. 2022, arXiv:2206.00364, Table 1), and its raw
            output is rescaled with this sigma_data as the paper's Appendix C says, so that the
            answer at sigma_min is x.
    """
    clean = Point(1.0, sigma_min, 0.0)
    for here, there in pairwise(grid):
        answer = denoise(x, here)
        if sigma_data is not None and here.alpha > 0:
            answer = _bounded(x / here.alpha, answer, here.ratio, sigma_min, sigma_data)
        x = (
            renoise(answer, clean, there, noise)
            if there.ratio > sigma_min
            else there.alpha * answer
        )
    return x


def _bounded(x: Tensor, x0: Tensor, ratio: float, least: float, data: float) -> Tensor:
    """The consistency model whose raw output is that behind EDM's x0; of x = x0 + ratio·noise.

    EDM's x0 is x/(1 + ratio²/data²) + (...)·output, and only the two factors change.
    """
    if ratio <= least:
        return x
    share = 1 - least / ratio
    skip = data**2 / ((ratio - least) ** 2 + data**2)
    return (skip - share * data**2 / (ratio**2 + data**2)) * x + share * x0
