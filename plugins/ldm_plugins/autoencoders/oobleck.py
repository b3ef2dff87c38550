"""The autoencoder Oobleck, from the samples of a sound to latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field

from ldm_core.contracts import Medium, Model, Noise, Part, decodes, encodes, fits
from ldm_plugins.autoencoders.shared.part import autoencoder_of, check_kind, decoder_of
from ldm_plugins.shared.codecs import for_models

if TYPE_CHECKING:
    from torch import Tensor

NAME = "oobleck"


@fits(for_models(NAME))
@encodes("audio")
def encode(model: Model, data: Tensor, noise: Noise, *, sample: bool = True) -> Tensor:
    """Latents of a sound (Evans et al. 2024, arXiv:2407.14358, Section 2.1).

    Args:
        sample: draw from the posterior; else take its mean.
    """
    part = _checked(autoencoder_of(model, NAME))
    posterior = part.module.encode(data.to(part.device, part.dtype)).latent_dist
    z = posterior.mean.float().to(data.device)
    if sample:
        z = z + posterior.std.float().to(data.device) * noise()
    return cast("Tensor", z)


@fits(for_models(NAME))
@decodes("audio")
def decode(
    model: Model, x0: Tensor, *, peak: Annotated[float, Field(gt=0, le=1)] | None = None
) -> Medium:
    """The samples of a sound (Evans et al. 2024, arXiv:2407.14358, Section 2.1).

    Args:
        peak: how far the loudest sample of each sound is to be from 0, to which all of it is then
            scaled; None leaves it as the autoencoder has it.
    """
    part = _checked(decoder_of(model, NAME))
    wave: Any = part.module.decode(x0.to(part.device, part.dtype), return_dict=False)[0]
    wave = wave.float().to(x0.device)
    if peak is not None:
        wave = wave * (peak / wave.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-6))
    return Medium("audio", wave, model.info.rate)


def _checked(part: Part) -> Part:
    from diffusers import AutoencoderOobleck

    check_kind(NAME, part, isinstance(part.module, AutoencoderOobleck))
    return part
