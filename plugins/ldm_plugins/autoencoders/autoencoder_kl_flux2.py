"""FLUX.2's autoencoder, from pixels to patches of latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ldm_core.contracts import Model, Noise, fits
from ldm_plugins.autoencoders.shared.part import autoencoder_of, decoder_of
from ldm_plugins.shared.codecs import for_models
from ldm_plugins.shared.packed_statistics import SIDE, normalised, own_latents

if TYPE_CHECKING:
    from torch import Tensor

NAME = "autoencoder_kl_flux2"


@fits(for_models(NAME))
def encode(model: Model, data: Tensor, noise: Noise, *, sample: bool = False) -> Tensor:
    """The latents of FLUX.2's autoencoder, 2x2 of which make one, normalised by the statistics of
    its batch norm (Black Forest Labs 2025).

    Args:
        sample: draw from the posterior; else take its mean, as Diffusers' pipelines do.
    """
    from torch.nn.functional import pixel_shuffle

    part = autoencoder_of(model, NAME)
    posterior = part.module.encode(data.to(part.device, part.dtype)).latent_dist
    z = posterior.mean.float().to(data.device)
    if sample:
        z = z + posterior.std.float().to(data.device) * pixel_shuffle(noise(), SIDE)
    return normalised(part, z)


@fits(for_models(NAME))
def decode(model: Model, x0: Tensor) -> Tensor:
    """The pixels of FLUX.2's autoencoder (Black Forest Labs 2025)."""
    part = decoder_of(model, NAME)
    z = own_latents(part, x0).to(part.device, part.dtype)
    return cast("Tensor", part.module.decode(z, return_dict=False)[0].float().to(x0.device))
