"""A decoder: it turns latents into data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Model

if TYPE_CHECKING:
    from torch import Tensor


def sketch(model: Model, x0: Tensor) -> Tensor:
    """A quick look at latents: a channel for each colour, at the size of the picture."""
    colours = [colour % x0.shape[1] for colour in range(model.info.image_channels)]
    pixels = x0[:, colours]  # (batch, colours, height, width)
    for dim, axis in enumerate(model.info.latents.axes, start=2):
        pixels = pixels.repeat_interleave(axis.stride, dim=dim)
    return pixels.clamp(-1, 1)
