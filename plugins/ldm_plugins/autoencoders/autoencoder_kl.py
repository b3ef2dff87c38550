"""The autoencoder with a KL term, from pixels to latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ldm_core.contracts import Model, Noise

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
    scale, shift = _normalisation(vae)
    return cast("Tensor", (z - shift) * scale)


def decode(model: Model, x0: Tensor) -> Tensor:
    """The KL-autoencoder's pixels (Rombach et al. 2022, arXiv:2112.10752, Section 3.1)."""
    vae = model.components["vae"]
    scale, shift = _normalisation(vae)
    z = x0 / scale + shift
    return cast("Tensor", vae.decode(z.to(vae.dtype), return_dict=False)[0].float())


def _normalisation(vae: Any) -> tuple[float, float]:
    """Scale and shift that give latents about unit variance and zero mean."""
    return vae.config.scaling_factor, getattr(vae.config, "shift_factor", None) or 0.0
