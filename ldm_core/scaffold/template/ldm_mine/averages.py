"""An encoder: it turns data into latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core import LdmError
from ldm_core.contracts import Model, Noise
from pydantic import PositiveInt

if TYPE_CHECKING:
    from torch import Tensor


def averages(model: Model, data: Tensor, noise: Noise, *, draws: PositiveInt = 4) -> Tensor:
    """The mean of several draws from a KL-autoencoder's posterior.

    Args:
        draws: how many.
    """
    part = model.part("autoencoder")
    if part is None:
        raise LdmError(f"'{model.info.source}' has no autoencoder to draw from.")
    config = part.module.config
    if config.get("latents_mean") is not None:
        raise LdmError(f"'{model.info.source}' scales each channel by itself, and this does not.")
    posterior = part.module.encode(data.to(part.device, part.dtype)).latent_dist
    mean, std = (moment.float().to(data.device) for moment in (posterior.mean, posterior.std))
    total = sum((noise() for _ in range(draws - 1)), start=noise())
    shift, scale = config.get("shift_factor") or 0.0, config.scaling_factor
    z: Tensor = (mean + std * total / draws - shift) * scale
    return z
