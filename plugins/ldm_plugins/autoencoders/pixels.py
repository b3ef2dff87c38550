"""No autoencoder: a model that works on pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Model, Noise, fits
from ldm_plugins.shared.codecs import for_models, with_autoencoder

if TYPE_CHECKING:
    from torch import Tensor

NAME = "pixels"


@fits(for_models(NAME))
def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """Pixels are the latents, as in DDPM (Ho et al. 2020, arXiv:2006.11239)."""
    _check_pixels(model)
    return data


@fits(for_models(NAME))
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
        raise with_autoencoder(model.info)
