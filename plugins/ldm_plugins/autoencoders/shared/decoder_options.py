"""What a decoder is told beside latents: the picture that is repainted, or what it draws from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Part, Request
from ldm_core.media.pixels import to_pixels

if TYPE_CHECKING:
    import torch


def decoder_options(part: Part, request: Request, shape: Sequence[int]) -> dict[str, Any]:
    """What the ``decode`` of an autoencoder's class is told.

    Args:
        part: the autoencoder.
        request: whose latents they are.
        shape: of the latents, (batch, channels, height, width).
    """
    classes = {cls.__name__ for cls in type(part.module).__mro__}
    if "ConsistencyDecoderVAE" in classes:
        return {"generator": [_stream(seed, shape[1:]) for seed in request.seeds]}
    return _kept(part, request) if "AsymmetricAutoencoderKL" in classes else {}


def _stream(seed: int, shape: Sequence[int]) -> torch.Generator:
    """The stream of an image's seed behind the first noise of its latents: what Diffusers'
    pipelines go on with where nothing else of a run is drawn."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    torch.randn((1, *shape), generator=generator)
    return generator


def _kept(part: Part, request: Request) -> dict[str, Any]:
    """The pictures in [-1, 1] of which a part is made anew, and the masks, 1 where it is, by the
    inputs ``image`` and ``mask``; nothing where no picture is repainted."""
    images, masks = (request.inputs.get(name, [None]) for name in ("image", "mask"))
    if any(value is None for value in (*images, *masks)):
        return {}
    channels = part.module.config.in_channels
    pictures, cover = to_pixels([*images], channels), to_pixels([*masks], 1, mask=True)
    both = {"image": pictures, "mask": cover >= 0}
    return {name: value.to(part.device, part.dtype) for name, value in both.items()}
