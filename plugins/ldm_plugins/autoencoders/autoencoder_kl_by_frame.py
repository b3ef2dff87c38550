"""The autoencoder of pictures, or one whose decoder sees neighbours too, for the frames of a
video."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.contracts import Model, Noise, Part, decodes, encodes, fits
from ldm_core.errors import LdmError
from ldm_plugins.autoencoders.shared.normalisation import normalisation
from ldm_plugins.autoencoders.shared.part import autoencoder_of, decoder_of
from ldm_plugins.shared.codecs import for_models

if TYPE_CHECKING:
    from torch import Tensor

NAME = "autoencoder_kl_by_frame"
AtLeastOne = Annotated[int, Field(ge=1)]


@fits(for_models(NAME))
@encodes("video")
def encode(model: Model, data: Tensor, noise: Noise, *, sample: bool = True) -> Tensor:
    """Each frame's latents by itself (Rombach et al. 2022, arXiv:2112.10752, Section 3.1).

    Args:
        sample: draw from the posterior; else take its mean.
    """
    import torch

    part = autoencoder_of(model, NAME)
    _check(part, data)
    drawn = noise() if sample else None
    videos = []
    for number, frames in enumerate(data.transpose(1, 2)):  # (frames, channels, height, width)
        posterior = part.module.encode(frames.to(part.device, part.dtype)).latent_dist
        z = posterior.mean.float().to(data.device)
        if drawn is not None:
            z = z + posterior.std.float().to(data.device) * drawn[number].transpose(0, 1)
        videos.append(z)
    z = torch.stack(videos).transpose(1, 2)
    scale, shift = normalisation(part.module.config, z)
    latents: Tensor = (z - shift) * scale
    return latents


@fits(for_models(NAME))
@decodes("video")
def decode(model: Model, x0: Tensor, *, frames: AtLeastOne | None = None) -> Tensor:
    """The frames of latents (batch, channels, frames, height, width), each by itself, or by a
    decoder that sees those before and after it too (Blattmann et al. 2023, arXiv:2311.15127).

    Args:
        frames: so many of a video at once, which takes less memory; all of them where not given. A
            decoder that sees neighbours sees those alone that are decoded with it.
    """
    import torch

    part = decoder_of(model, NAME)
    _check(part, x0)
    scale, shift = normalisation(part.module.config, x0)
    z = (x0 / scale + shift).to(part.device, part.dtype).transpose(1, 2)
    videos = [torch.cat([*_decoded(part, video, frames or len(video))]) for video in z]
    decoded: Tensor = torch.stack(videos).transpose(1, 2).float().to(x0.device)
    return decoded


def _decoded(part: Part, video: Tensor, count: int) -> Iterator[Tensor]:
    """The frames (frames, channels, height, width) of a video's latents, so many at once."""
    from diffusers import AutoencoderKLTemporalDecoder

    temporal = isinstance(part.module, AutoencoderKLTemporalDecoder)
    for start in range(0, len(video), count):
        some = video[start : start + count]
        options: dict[str, Any] = {"num_frames": len(some)} if temporal else {}
        yield part.module.decode(some, return_dict=False, **options)[0]


def _check(part: Part, data: Tensor) -> None:
    """See that a video was handed over.

    Raises:
        LdmError: it was not.
    """
    if data.ndim != 5:
        raise LdmError(
            "'autoencoder_kl_by_frame' is for videos (batch, channels, frames, height, width), and "
            f"the model whose {type(part.module).__name__} it was asked of has latents of shape "
            f"{tuple(data.shape)}.",
            "leave the encoder and the decoder out: the model's own are then taken.",
        )
