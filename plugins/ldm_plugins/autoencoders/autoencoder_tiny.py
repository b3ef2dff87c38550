"""A small autoencoder that was trained to imitate a larger one's latents, such as a TAESD."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ldm_core.contracts import Model, Noise, fits
from ldm_plugins.autoencoders.shared.normalisation import normalisation
from ldm_plugins.autoencoders.shared.part import autoencoder_of, check_kind, decoder_of
from ldm_plugins.shared.codecs import for_models

if TYPE_CHECKING:
    from torch import Tensor

NAME = "autoencoder_tiny"


@fits(for_models(NAME))
def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """The latents of an AutoencoderTiny, of which there is one for each picture: it has no
    posterior to draw from."""
    from diffusers import AutoencoderTiny

    part = autoencoder_of(model, NAME)
    check_kind(NAME, part, isinstance(part.module, AutoencoderTiny))
    z = part.module.encode(data.to(part.device, part.dtype), return_dict=False)[0]
    z = z.float().to(data.device)
    scale, shift = normalisation(part.module.config, z)
    return cast("Tensor", (z - shift) * scale)


@fits(for_models(NAME))
def decode(model: Model, x0: Tensor) -> Tensor:
    """The pixels of an AutoencoderTiny."""
    part = decoder_of(model, NAME)
    scale, shift = normalisation(part.module.config, x0)
    z = (x0 / scale + shift).to(part.device, part.dtype)
    return cast("Tensor", part.module.decode(z, return_dict=False)[0].float().to(x0.device))
