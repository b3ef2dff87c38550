"""The autoencoder SAME, from the samples of a sound to latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Medium, Model, Noise, Part, decodes, encodes, fits
from ldm_plugins.autoencoders.shared.part import autoencoder_of, check_kind, decoder_of
from ldm_plugins.shared.codecs import for_models

if TYPE_CHECKING:
    from torch import Tensor

NAME = "same"


@fits(for_models(NAME))
@encodes("audio")
def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """Latents of a sound, of which there is one alone (arXiv:2605.17991, Section 2.1)."""
    part = _checked(autoencoder_of(model, NAME))
    z: Any = part.module.encode(data.to(part.device, part.dtype), return_dict=False)[0]
    latents: Tensor = z.float().to(data.device)
    return latents


@fits(for_models(NAME))
@decodes("audio")
def decode(model: Model, x0: Tensor) -> Medium:
    """The samples of a sound (arXiv:2605.17991, Section 2.1)."""
    part = _checked(decoder_of(model, NAME))
    wave: Any = part.module.decode(x0.to(part.device, part.dtype), return_dict=False)[0]
    return Medium("audio", wave.float().to(x0.device), model.info.rate)


def _checked(part: Part) -> Part:
    from diffusers import AutoencoderSAME

    check_kind(NAME, part, isinstance(part.module, AutoencoderSAME))
    return part
