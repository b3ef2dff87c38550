"""An autoencoder of sound in closed form: a lapped transform, in the weights of the real class.

The modified discrete cosine transform (Princen & Bradley 1986, doi:10.1109/TASSP.1986.1164954)
makes of each 128 samples, seen through a sine window of 256, 128 numbers, one for each 31.25 Hz; it
is orthonormal, so that what made them undoes them. Of these the lower 64 are the latents, up to
2 kHz. Nothing here is trained.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

HOP, CHANNELS = 128, 64
SCALE = 2.5  # of the latents: with it their mean square in the `tones` world is about 1
STRIDES = (16, 8)  # the transform in two steps: samples side by side, then their sums
STRAIGHT = -20.0  # an activation bends by exp of it, and latents spread by about as much


def basis() -> Tensor:
    """The transform, (64, 256): what one latent of each channel sounds like, of length 1."""
    n, k = torch.arange(2 * HOP).double(), torch.arange(CHANNELS).double()[:, None]
    window = torch.sin(math.pi / (2 * HOP) * (n + 0.5))
    waves = torch.cos(math.pi / HOP * (n + 0.5 + HOP / 2) * (k + 0.5))
    return (math.sqrt(2 / HOP) * window * waves).float()


def to_latents(sounds: Tensor) -> Tensor:
    """Latents (batch, 64, places) of sounds (batch, 128·places): what the autoencoder's encoder
    gives as their mean, in one product."""
    padded = torch.nn.functional.pad(sounds, (HOP // 2, HOP // 2))
    return SCALE * (padded.unfold(-1, 2 * HOP, HOP) @ basis().T).transpose(1, 2)


@torch.no_grad()
def build_autoencoder(rate: int) -> Any:
    """A `diffusers.AutoencoderOobleck` whose weights are the transform.

    Its activations are straight lines, its residual units add nothing, and its latents have no
    spread.
    """
    from diffusers import AutoencoderOobleck

    vae = AutoencoderOobleck(
        encoder_hidden_size=2 * CHANNELS,  # the mean of the latents, and their spread
        downsampling_ratios=list(STRIDES),
        channel_multiples=[1, 1],
        decoder_channels=CHANNELS,
        decoder_input_channels=CHANNELS,
        audio_channels=1,
        sampling_rate=rate,
    )
    encoder, decoder = vae.encoder, vae.decoder
    for name, weight in vae.named_parameters():
        if name.endswith((".alpha", ".beta", ".bias")):
            weight.fill_(STRAIGHT if name.endswith(".alpha") else 0.0)
    encoder.conv2.bias[CHANNELS:] = STRAIGHT
    few, side = STRIDES[0], range(STRIDES[0])
    waves = basis().view(CHANNELS, -1, few).transpose(1, 2)  # channel, place, step
    to, fro = torch.zeros(2, 2 * CHANNELS, 2 * CHANNELS, 2 * STRIDES[1])
    to[:CHANNELS, :few], fro[:CHANNELS, :few] = SCALE * waves, waves / SCALE
    placed = {
        encoder.conv1: _ones((0, 0, 3)),
        encoder.block[0].conv1: _ones(*((p, 0, few // 2 + p) for p in side)),
        encoder.block[1].conv1: to,
        encoder.conv2: _ones(*((k, k, 1) for k in range(CHANNELS))),
        decoder.conv1: _ones(*((k, k, 3) for k in range(CHANNELS))),
        decoder.block[0].conv_t1: fro,
        decoder.block[1].conv_t1: _ones(*((p, 0, few // 2 + p) for p in side)),
        decoder.conv2: _ones((0, 0, 3)),
    }
    for module in vae.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            _set(module, placed.get(module, _ones()))
    return vae


def _ones(*places: tuple[int, int, int]) -> Tensor:
    """Zeros but for ones at these places, as large as any weight of the autoencoder."""
    weight = torch.zeros(2 * CHANNELS, 2 * CHANNELS, 2 * STRIDES[0])
    for place in places:
        weight[place] = 1
    return weight


def _set(module: Any, weight: Tensor) -> None:
    """Set a convolution's weight, which is kept as directions and their lengths; a direction of
    length 0 points anywhere."""
    rows, columns, taps = module.weight_v.shape
    weight = weight[:rows, :columns, :taps]
    lengths = weight.flatten(1).norm(dim=1)
    module.weight_g.copy_(lengths[:, None, None])
    module.weight_v.copy_(weight)
    module.weight_v[lengths == 0, 0, 0] = 1
