"""Paella's vector-quantised autoencoder, from pixels to latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ldm_core.contracts import Model, Noise, fits
from ldm_plugins.autoencoders.shared.part import autoencoder_of, check_kind
from ldm_plugins.shared.codecs import for_models

if TYPE_CHECKING:
    from torch import Tensor

NAME = "paella"


@fits(for_models(NAME))
def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """Paella's latents before quantisation (Rampas et al. 2022, arXiv:2211.07292), of pixels in
    [0, 1], as Stable Cascade has them."""
    import torch

    part = autoencoder_of(model, NAME)
    pixels = (data / 2 + 0.5).to(part.device, part.dtype)
    z = part.module.encode(pixels, return_dict=False)[0]
    check_kind(NAME, part, isinstance(z, torch.Tensor))
    return cast("Tensor", z.float().to(data.device) / part.module.config.scale_factor)


@fits(for_models(NAME))
def decode(model: Model, x0: Tensor) -> Tensor:
    """The pixels of latents, which are not quantised (Rampas et al. 2022, arXiv:2211.07292), as
    Stable Cascade decodes them."""
    part = autoencoder_of(model, NAME)
    z = (x0 * part.module.config.scale_factor).to(part.device, part.dtype)
    pixels = part.module.decode(z, return_dict=False)[0].float().to(x0.device)
    return cast("Tensor", pixels.clamp(0, 1) * 2 - 1)
