"""The autoencoder with a KL term, from pixels to latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ldm_core.contracts import Model, Noise, Part, Request, fits, request_of, sees_request
from ldm_plugins.autoencoders.shared.decoder_options import decoder_options
from ldm_plugins.autoencoders.shared.normalisation import normalisation
from ldm_plugins.autoencoders.shared.part import autoencoder_of, check_kind, decoder_of
from ldm_plugins.shared.codecs import for_models

if TYPE_CHECKING:
    from torch import Tensor

NAME = "autoencoder_kl"


@fits(for_models(NAME))
def encode(model: Model, data: Tensor, noise: Noise, *, sample: bool = True) -> Tensor:
    """The KL-autoencoder's latents (Rombach et al. 2022, arXiv:2112.10752, Section 3.1).

    Args:
        sample: draw from the posterior; else take its mean.
    """
    return encoded(autoencoder_of(model, NAME), data, noise if sample else None)


@fits(for_models(NAME))
@sees_request
def decode(model: Model, x0: Tensor, request: Request | None = None) -> Tensor:
    """The KL-autoencoder's pixels (Rombach et al. 2022, arXiv:2112.10752, Section 3.1).

    Where a picture is repainted, the decoder of an AsymmetricAutoencoderKL sees what is kept (Zhu
    et al. 2023, arXiv:2306.04632). A ConsistencyDecoderVAE (Song et al. 2023, arXiv:2303.01469)
    draws from each image's seed.
    """
    part = decoder_of(model, NAME)
    asked = request or request_of(x0, model.info.latents)
    return decoded(part, x0, **decoder_options(part, asked, x0.shape))


def encoded(part: Part, data: Tensor, noise: Noise | None) -> Tensor:
    """The normalised latents of an autoencoder's posterior; its mean where there is no noise."""
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
    from diffusers.models.autoencoders.vq_model import VQEncoderOutput

    output = part.module.encode(data.to(part.device, part.dtype))
    others = (VQEncoderOutput, AutoencoderTinyOutput)
    check_kind(NAME, part, not isinstance(output, others))
    posterior = output.latent_dist
    z = posterior.mean.float().to(data.device)
    if noise is not None:
        z = z + posterior.std.float().to(data.device) * noise()
    scale, shift = normalisation(part.module.config, z)
    return cast("Tensor", (z - shift) * scale)


def decoded(part: Part, x0: Tensor, **options: Any) -> Tensor:
    """What an autoencoder's decoder, told these options, makes of normalised latents."""
    scale, shift = normalisation(part.module.config, x0)
    z = (x0 / scale + shift).to(part.device, part.dtype)
    return cast(
        "Tensor", part.module.decode(z, return_dict=False, **options)[0].float().to(x0.device)
    )
