"""The autoencoder of videos with a KL term, from frames to latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ldm_core.contracts import Model, Noise, Part, decodes, encodes, fits
from ldm_core.errors import LdmError
from ldm_plugins.autoencoders.shared.normalisation import buffered, normalisation
from ldm_plugins.autoencoders.shared.part import autoencoder_of, decoder_of
from ldm_plugins.autoencoders.shared.timestep import Timestep, with_timestep
from ldm_plugins.shared.codecs import for_models
from ldm_plugins.shared.frame_memory import alone

if TYPE_CHECKING:
    from torch import Tensor

NAME = "autoencoder_kl_video"


@fits(for_models(NAME))
@encodes("video")
def encode(model: Model, data: Tensor, noise: Noise, *, sample: bool = True) -> Tensor:
    """The latents of a video by an autoencoder that is causal in time (Yu et al. 2023,
    arXiv:2310.05737, Section 3.2). What a model has ahead of the first place is as that one.

    Args:
        sample: draw from the posterior; else take its mean.
    """
    import torch

    part = autoencoder_of(model, NAME)
    _check(part, data)
    with alone(part.module):
        posterior = part.module.encode(data.to(part.device, part.dtype)).latent_dist
    z = posterior.mean.float().to(data.device)
    ahead = model.info.latents.axis("frames").ahead
    if sample:
        z = z + posterior.std.float().to(data.device) * noise()[:, :, ahead:]
    scale, shift = normalisation(buffered(part), z)
    latents = cast("Tensor", (z - shift) * scale)
    return torch.cat([latents[:, :, :1]] * ahead + [latents], dim=2)


@fits(for_models(NAME))
@decodes("video")
def decode(model: Model, x0: Tensor, *, timestep: Timestep = 0.0) -> Tensor:
    """The frames of latents, (batch, channels, frames, height, width), by an autoencoder that is
    causal in time (Yu et al. 2023, arXiv:2310.05737, Section 3.2).

    Args:
        timestep: from 0 to 1, how noisy the latents are said to be to a decoder that takes the
            last step of denoising itself, as LTX-Video's do (HaCohen et al. 2024,
            arXiv:2501.00103, Section 2.2). With other decoders it must stay 0.
    """
    part = decoder_of(model, NAME)
    _check(part, x0)
    axis = model.info.latents.axis("frames")
    length = axis.length(x0.shape[2])
    x0 = _whole_pairs(part, x0[:, :, axis.ahead :])
    scale, shift = normalisation(buffered(part), x0)
    z = (x0 / scale + shift).to(part.device, part.dtype)
    with alone(part.module):
        frames = part.module.decode(*with_timestep(part, z, timestep), return_dict=False)[0]
    return cast("Tensor", frames[:, :, :length].float().to(x0.device))


def _whole_pairs(part: Part, x0: Tensor) -> Tensor:
    """Latents with the last one twice where CogVideoX's decoder would take the first for one that
    stands for as many frames as the others: it takes two at a time, and makes a single frame of the
    first where three are left to it. What the copy gives is cut off."""
    import torch
    from diffusers import AutoencoderKLCogVideoX

    if not isinstance(part.module, AutoencoderKLCogVideoX) or x0.shape[2] % 2:
        return x0
    return torch.cat([x0, x0[:, :, -1:]], dim=2)


def _check(part: Part, data: Tensor) -> None:
    """See that an autoencoder of videos was asked of a video.

    Raises:
        LdmError: it was not.
    """
    if data.ndim != 5:
        raise LdmError(
            "'autoencoder_kl_video' is for videos (batch, channels, frames, height, width), and "
            f"the model whose {type(part.module).__name__} it was asked of has latents of shape "
            f"{tuple(data.shape)}.",
            "leave the encoder and the decoder out: the model's own are then taken.",
        )
