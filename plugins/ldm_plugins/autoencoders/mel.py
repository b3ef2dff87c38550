"""An autoencoder of spectrograms, of which a vocoder makes sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Medium, Model, Noise, decodes, encodes, fits
from ldm_core.errors import LdmError
from ldm_plugins.autoencoders.shared.normalisation import normalisation
from ldm_plugins.autoencoders.shared.part import decoder_of
from ldm_plugins.shared.codecs import for_models

if TYPE_CHECKING:
    from torch import Tensor

NAME = "mel"


@fits(for_models(NAME))
@encodes("spectrogram")
def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """Nothing: how a sound becomes the spectrogram of such a model, its folder does not say.

    Raises:
        LdmError: always.
    """
    raise LdmError(
        f"the model '{model.info.source}' cannot start from a sound: its folder does not say how "
        "the spectrograms are made that its autoencoder encodes."
    )


@fits(for_models(NAME))
@decodes("audio")
def decode(model: Model, x0: Tensor) -> Medium:
    """The samples of a sound: a spectrogram in logarithms of mel bins, and of that the samples
    (HiFi-GAN, Kong et al. 2020, arXiv:2010.05646)."""
    part, vocoder = decoder_of(model, NAME), model.parts.get("vocoder")
    if vocoder is None:
        raise LdmError(
            f"'mel' is for models with a vocoder, and '{model.info.source}' (family "
            f"{model.info.family}) has none.",
            "leave the decoder out: the model's own is then taken.",
        )
    scale, shift = normalisation(part.module.config, x0)
    z = (x0 / scale + shift).to(part.device, part.dtype)
    spectrogram = part.module.decode(z, return_dict=False)[0].squeeze(1)
    wave: Tensor = vocoder.module(spectrogram.to(vocoder.device, vocoder.dtype))
    length = model.info.latents.extent(x0.shape[1:])["samples"]
    return Medium("audio", wave[:, None, :length].float().to(x0.device), model.info.rate)
