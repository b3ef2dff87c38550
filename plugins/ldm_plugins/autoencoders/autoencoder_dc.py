"""The deep compression autoencoder, from pixels to latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ldm_core.contracts import Model, Noise, fits
from ldm_plugins.autoencoders.shared.part import autoencoder_of, check_kind, decoder_of
from ldm_plugins.shared.codecs import for_models

if TYPE_CHECKING:
    from torch import Tensor

NAME = "autoencoder_dc"


@fits(for_models(NAME))
def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """The deep compression autoencoder's latents (Chen et al. 2024, arXiv:2410.10733); nothing of
    them is drawn."""
    from diffusers.models.autoencoders.vae import EncoderOutput

    part = autoencoder_of(model, NAME)
    output = part.module.encode(data.to(part.device, part.dtype))
    check_kind(NAME, part, isinstance(output, EncoderOutput))
    return cast("Tensor", output.latent.float().to(data.device) * part.module.config.scaling_factor)


@fits(for_models(NAME))
def decode(model: Model, x0: Tensor) -> Tensor:
    """The deep compression autoencoder's pixels (Chen et al. 2024, arXiv:2410.10733)."""
    part = decoder_of(model, NAME)
    z = (x0 / part.module.config.scaling_factor).to(part.device, part.dtype)
    return cast("Tensor", part.module.decode(z, return_dict=False)[0].float().to(x0.device))
