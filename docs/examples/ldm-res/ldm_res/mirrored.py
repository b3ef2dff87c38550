"""An encoder and a decoder: the mean of what a picture and its mirror image give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core import LdmError
from ldm_core.contracts import Model, Noise, Part

if TYPE_CHECKING:
    from torch import Tensor


def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """The mean of a KL-autoencoder's posteriors of a picture and of its mirror image."""
    part = autoencoder(model)
    pixels = data.to(part.device, part.dtype)
    one, other = (part.module.encode(side).latent_dist.mean for side in (pixels, pixels.flip(-1)))
    config = part.module.config
    shift, scale = float(config.get("shift_factor") or 0.0), float(config["scaling_factor"])
    z: Tensor = (one + other.flip(-1)).float().to(data.device) / 2
    return (z - shift) * scale


def decode(model: Model, x0: Tensor) -> Tensor:
    """The mean of a KL-autoencoder's pixels for latents and for their mirror image."""
    part = autoencoder(model)
    config = part.module.config
    z = (x0 / config["scaling_factor"] + (config.get("shift_factor") or 0.0)).to(
        part.device, part.dtype
    )
    one, other = (part.module.decode(side, return_dict=False)[0] for side in (z, z.flip(-1)))
    pixels: Tensor = (one + other.flip(-1)).float().to(x0.device) / 2
    return pixels


def autoencoder(model: Model) -> Part:
    """The part that turns pixels into latents and back, with one scale for all channels."""
    part = model.part("autoencoder")
    if part is None or "scaling_factor" not in part.module.config:
        raise LdmError(f"'{model.info.source}' has no KL-autoencoder, which 'mirrored' needs.")
    if part.module.config.get("latents_mean") is not None:
        raise LdmError(f"'{model.info.source}' scales each channel by itself; 'mirrored' does not.")
    return part
