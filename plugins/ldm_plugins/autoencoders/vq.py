"""The vector-quantised autoencoder, from pixels to latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ldm_core.contracts import Model, Noise, fits
from ldm_plugins.autoencoders.shared.part import autoencoder_of, check_kind
from ldm_plugins.shared.codecs import for_models

if TYPE_CHECKING:
    from torch import Tensor

NAME = "vq"


@fits(for_models(NAME))
def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """The VQ-autoencoder's latents before quantisation (Rombach et al. 2022, arXiv:2112.10752).

    The nearest code of the codebook is taken by the decoder, so that diffusion sees no steps.
    """
    import torch

    part = autoencoder_of(model, NAME)
    z = part.module.encode(data.to(part.device, part.dtype), return_dict=False)[0]
    check_kind(NAME, part, isinstance(z, torch.Tensor))
    return cast("Tensor", z.float().to(data.device) * part.module.config.scaling_factor)


@fits(for_models(NAME))
def decode(model: Model, x0: Tensor) -> Tensor:
    """The pixels of the nearest codes (van den Oord et al. 2017, arXiv:1711.00937, Eq. 2)."""
    part = autoencoder_of(model, NAME)
    z = (x0 / part.module.config.scaling_factor).to(part.device, part.dtype)
    return cast("Tensor", part.module.decode(z, return_dict=False)[0].float().to(x0.device))
