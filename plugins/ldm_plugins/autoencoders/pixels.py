"""No autoencoder: a model that works on pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Model, Noise
from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import Tensor


def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """Pixels are the latents, as in DDPM (Ho et al. 2020, arXiv:2006.11239)."""
    _check_pixels(model)
    return data


def decode(model: Model, x0: Tensor) -> Tensor:
    """Latents are the pixels, as in DDPM (Ho et al. 2020, arXiv:2006.11239)."""
    _check_pixels(model)
    return x0


def _check_pixels(model: Model) -> None:
    """See that a model works on pixels.

    Raises:
        LdmError: it has an autoencoder.
    """
    if model.part("autoencoder") is not None:
        raise LdmError(
            f"'pixels' is for models that work on pixels, and '{model.info.source}' has an "
            "autoencoder.",
            "leave the encoder and the decoder out: the model's own are then taken.",
        )
