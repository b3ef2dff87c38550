"""The vector-quantised autoencoder, from pixels to latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ldm_core.contracts import Noise
from ldm_core.contracts.family import Model

if TYPE_CHECKING:
    from torch import Tensor


def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """The VQ-autoencoder's latents before quantisation (Rombach et al. 2022, arXiv:2112.10752).

    The nearest code of the codebook is taken by the decoder, so that diffusion sees no steps.
    """
    vq = model.components["vqvae"]
    z = vq.encode(data.to(vq.dtype), return_dict=False)[0].float()
    return cast("Tensor", z * vq.config.scaling_factor)


def decode(model: Model, x0: Tensor) -> Tensor:
    """The pixels of the nearest codes (van den Oord et al. 2017, arXiv:1711.00937, Eq. 2)."""
    vq = model.components["vqvae"]
    z = x0 / vq.config.scaling_factor
    return cast("Tensor", vq.decode(z.to(vq.dtype), return_dict=False)[0].float())
