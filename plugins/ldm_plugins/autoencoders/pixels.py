"""No autoencoder: a model that works on pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Model, Noise

if TYPE_CHECKING:
    from torch import Tensor


def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """Pixels are the latents, as in DDPM (Ho et al. 2020, arXiv:2006.11239)."""
    return data


def decode(model: Model, x0: Tensor) -> Tensor:
    """Latents are the pixels, as in DDPM (Ho et al. 2020, arXiv:2006.11239)."""
    return x0
