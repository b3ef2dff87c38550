"""The autoencoders of LTX-2: of a video, and of the sound beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Medium, Model, Noise, decodes, encodes, fits
from ldm_core.errors import LdmError
from ldm_plugins.autoencoders.shared.normalisation import buffered, normalisation
from ldm_plugins.autoencoders.shared.part import autoencoder_of, decoder_of
from ldm_plugins.autoencoders.shared.timestep import Timestep, with_timestep
from ldm_plugins.shared.codecs import for_models
from ldm_plugins.shared.video_and_sound import VideoAndSound

if TYPE_CHECKING:
    from torch import Tensor

NAME = "ltx_2"


@fits(for_models(NAME))
@encodes("video")
def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """A video's latents, the posterior's mean, with silence beside them (HaCohen et al. 2026,
    arXiv:2601.03233)."""
    space, part = _space(model), autoencoder_of(model, NAME)
    posterior = part.module.encode(data.to(part.device, part.dtype)).latent_dist
    z = posterior.mean.float().to(data.device)
    scale, shift = normalisation(buffered(part), z)
    return space.silent((z - shift) * scale)


@fits(for_models(NAME))
@decodes("video")
def decode(model: Model, x0: Tensor, *, timestep: Timestep = 0.0) -> Medium:
    """The frames of a video and, beside them, its sound: a spectrogram from the latents, of which a
    vocoder makes samples (HaCohen et al. 2026, arXiv:2601.03233).

    Args:
        timestep: how noisy the latents are said to be to a decoder of frames that takes the last
            step of denoising itself; with others it must stay 0.
    """
    both = _space(model).split(x0)
    part = decoder_of(model, NAME)
    scale, shift = normalisation(buffered(part), both.video)
    z = (both.video / scale + shift).to(part.device, part.dtype)
    told = with_timestep(part, z, timestep)
    frames = part.module.decode(*told, return_dict=False)[0].float().to(x0.device)
    wave, rate = sound(model, both.sound)
    return Medium("video", frames, model.info.rate, (Medium("audio", wave, rate),))


def sound(model: Model, latents: Tensor) -> tuple[Tensor, float]:
    """Samples (batch, channels, samples) of latents (batch, channels, places, bins), and how many a
    second there are."""
    part, vocoder = model.parts["audio_vae"], model.parts["vocoder"]
    numbers = buffered(part)
    mean, std = (numbers[name].to(latents.device) for name in ("latents_mean", "latents_std"))
    packed = latents.transpose(1, 2).flatten(2) * std + mean  # of each place, all bins
    z = packed.unflatten(2, (latents.shape[1], -1)).transpose(1, 2)
    spectrogram = part.module.decode(z.to(part.device, part.dtype), return_dict=False)[0]
    wave: Tensor = vocoder.module(spectrogram.to(vocoder.device, vocoder.dtype))
    rate = float(vocoder.module.config.output_sampling_rate)
    return wave.float().to(latents.device), rate


def _space(model: Model) -> VideoAndSound:
    space = model.info.latents
    if not isinstance(space, VideoAndSound):
        raise LdmError(
            f"'ltx_2' is for videos with sound, and '{model.info.source}' (family "
            f"{model.info.family}) draws none.",
            "leave the encoder and the decoder out: the model's own are then taken.",
        )
    return space
