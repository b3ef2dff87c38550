"""A video autoencoder with a KL term as one of pictures: each is a video of a single frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Model, Noise, fits
from ldm_plugins.autoencoders.autoencoder_kl import decoded, encoded
from ldm_plugins.autoencoders.shared.part import autoencoder_of, decoder_of
from ldm_plugins.shared.codecs import for_models
from ldm_plugins.shared.frame_memory import alone

if TYPE_CHECKING:
    from torch import Tensor

NAME = "autoencoder_kl_frame"
FRAMES = 2  # the dimension of a video that pictures do not have


@fits(for_models(NAME))
def encode(model: Model, data: Tensor, noise: Noise, *, sample: bool = True) -> Tensor:
    """The latents of a video autoencoder (Wu et al. 2025, arXiv:2508.02324, Section 2.3) for
    pictures, normalised by the mean and deviation of each channel.

    Args:
        sample: draw from the posterior; else take its mean.
    """
    part, drawn = autoencoder_of(model, NAME), lambda: noise().unsqueeze(FRAMES)
    with alone(part.module):
        video = encoded(part, data.unsqueeze(FRAMES), drawn if sample else None)
    return video.squeeze(FRAMES)


@fits(for_models(NAME))
def decode(model: Model, x0: Tensor) -> Tensor:
    """The pixels of a video autoencoder's only frame (Wu et al. 2025, arXiv:2508.02324,
    Section 2.3)."""
    part = decoder_of(model, NAME)
    with alone(part.module):
        return decoded(part, x0.unsqueeze(FRAMES)).squeeze(FRAMES)
