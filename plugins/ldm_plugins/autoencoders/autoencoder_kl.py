"""The autoencoder with a KL term, from pixels to latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ldm_core.contracts import Model, Noise
from ldm_plugins.autoencoders.shared.part import autoencoder_of, check_kind, decoder_of

if TYPE_CHECKING:
    from torch import Tensor


def encode(model: Model, data: Tensor, noise: Noise, *, sample: bool = True) -> Tensor:
    """The KL-autoencoder's latents (Rombach et al. 2022, arXiv:2112.10752, Section 3.1).

    Args:
        sample: draw from the posterior; else take its mean.
    """
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
    from diffusers.models.autoencoders.vq_model import VQEncoderOutput

    part = autoencoder_of(model)
    output = part.module.encode(data.to(part.device, part.dtype))
    others = (VQEncoderOutput, AutoencoderTinyOutput)
    check_kind("autoencoder_kl", part, not isinstance(output, others))
    posterior = output.latent_dist
    z = posterior.mean.float().to(data.device)
    if sample:
        z = z + posterior.std.float().to(data.device) * noise()
    scale, shift = _normalisation(part.module.config, z)
    return cast("Tensor", (z - shift) * scale)


def decode(model: Model, x0: Tensor) -> Tensor:
    """The KL-autoencoder's pixels (Rombach et al. 2022, arXiv:2112.10752, Section 3.1)."""
    part = decoder_of(model)
    scale, shift = _normalisation(part.module.config, x0)
    z = (x0 / scale + shift).to(part.device, part.dtype)
    return cast("Tensor", part.module.decode(z, return_dict=False)[0].float().to(x0.device))


def _normalisation(config: Any, like: Tensor) -> tuple[Any, Any]:
    """Scale and shift that give latents about unit variance and zero mean, of each channel where
    the config has statistics of each."""
    import torch

    scale, shift = config["scaling_factor"], config.get("shift_factor") or 0.0
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is None or std is None:
        return scale, shift
    shape = (1, -1, *(1 for _ in like.shape[2:]))
    means, stds = (torch.tensor(v, device=like.device).view(shape) for v in (mean, std))
    return scale / stds, means
