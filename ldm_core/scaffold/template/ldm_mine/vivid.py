"""A decoder: it turns latents into data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core import LdmError
from ldm_core.contracts import Model
from pydantic import NonNegativeFloat

if TYPE_CHECKING:
    from torch import Tensor


def vivid(model: Model, x0: Tensor, *, saturation: NonNegativeFloat = 1.1) -> Tensor:
    """A KL-autoencoder's pixels with stronger colours.

    Args:
        saturation: factor of how far each channel is from the mean of all; 1 is the autoencoder's
            own, 0 is grey.
    """
    part = model.part("decoder") or model.part("autoencoder")
    if part is None:
        raise LdmError(f"'{model.info.source}' has no autoencoder, and its latents are pixels.")
    config = part.module.config
    if config.get("latents_mean") is not None:
        raise LdmError(f"'{model.info.source}' scales each channel by itself, and this does not.")
    z = x0 / config.scaling_factor + (config.get("shift_factor") or 0.0)
    decoded = part.module.decode(z.to(part.device, part.dtype), return_dict=False)[0]
    pixels: Tensor = decoded.float().to(x0.device)  # (batch, colours, height, width)
    grey = pixels.mean(1, keepdim=True)
    return grey.lerp(pixels, saturation)
