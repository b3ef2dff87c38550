"""The autoencoder with a KL term, from pixels to latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ldm_core.contracts import Noise
from ldm_core.contracts.family import Model

if TYPE_CHECKING:
    from torch import Tensor


def encode(model: Model, data: Tensor, noise: Noise, *, sample: bool = True) -> Tensor:
    """The KL-autoencoder's latents (Rombach et al. 2022, arXiv:2112.10752, Section 3.1).

    Args:
        sample: draw from the posterior; else take its mean.
    """
    vae = model.components["vae"]
    posterior = vae.encode(data.to(vae.dtype)).latent_dist
    z = posterior.mean.float()
    if sample:
        z = z + posterior.std.float() * noise()
    scale, shift = _normalisation(vae, z)
    return cast("Tensor", (z - shift) * scale)


def decode(model: Model, x0: Tensor) -> Tensor:
    """The KL-autoencoder's pixels (Rombach et al. 2022, arXiv:2112.10752, Section 3.1)."""
    vae = model.components["vae"]
    scale, shift = _normalisation(vae, x0)
    z = x0 / scale + shift
    return cast("Tensor", vae.decode(z.to(vae.dtype), return_dict=False)[0].float())


def _normalisation(vae: Any, like: Tensor) -> tuple[Any, Any]:
    """Scale and shift that give latents about unit variance and zero mean, of each channel where
    the config has statistics of each."""
    import torch

    config = vae.config
    scale, shift = config.scaling_factor, getattr(config, "shift_factor", None) or 0.0
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is None or std is None:
        return scale, shift
    shape = (1, -1, *(1 for _ in like.shape[2:]))
    means, stds = (torch.tensor(v, device=like.device).view(shape) for v in (mean, std))
    return scale / stds, means
