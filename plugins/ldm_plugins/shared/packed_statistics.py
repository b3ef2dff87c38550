"""Latents that are cut into patches and normalised by the statistics of a batch norm, as those of
AutoencoderKLFlux2 are (Black Forest Labs 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Part

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 2
"""Of a patch, in the autoencoder's own latents."""


def normalised(autoencoder: Part, z: Tensor) -> Tensor:
    """The autoencoder's own latents (batch, channels, height, width) as a network sees them,
    (batch, 4 · channels, height / 2, width / 2) float32, zero mean and unit variance."""
    from torch.nn.functional import pixel_unshuffle

    mean, std = _statistics(autoencoder, z)
    return (pixel_unshuffle(z.float(), SIDE) - mean) / std


def own_latents(autoencoder: Part, x0: Tensor) -> Tensor:
    """The inverse of `normalised`."""
    from torch.nn.functional import pixel_shuffle

    mean, std = _statistics(autoencoder, x0)
    return pixel_shuffle(x0 * std + mean, SIDE)


def _statistics(autoencoder: Part, like: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the deviation of each channel of a patch, (1, channels, 1, 1) float32."""
    module = autoencoder.at_rest
    mean, variance = (
        value.to(like.device).float()[None, :, None, None]
        for value in (module.bn.running_mean, module.bn.running_var)
    )
    return mean, (variance + module.config.batch_norm_eps).sqrt()
