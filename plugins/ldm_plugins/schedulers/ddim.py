"""DDIM."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, NonNegativeFloat

from ldm_core.contracts import Denoise, Grid, Noise, of_order, stochastic
from ldm_core.numerics.moves import ancestral_move

if TYPE_CHECKING:
    from torch import Tensor


@of_order(1)
@stochastic
def ddim(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    eta: NonNegativeFloat = 0.0,
    clip: Annotated[float, Field(gt=0)] | None = None,
) -> Tensor:
    """Denoising diffusion implicit models (Song et al. 2021, arXiv:2010.02502, Eq. 12 and 16).

    Args:
        eta: share of the noise drawn anew at each step; 0 is deterministic, 1 is DDPM.
        clip: keep x0 within ±clip and leave the noise estimate as it was, as Diffusers' class does;
            unlike the denoiser `clip_x0`, by which both change.
    """
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        x = ancestral_move(x, x0, here, there, noise, eta)
        if clip is not None:
            x = x + there.alpha * (x0.clamp(-clip, clip) - x0)
    return x
