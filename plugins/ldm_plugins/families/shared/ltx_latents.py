"""What LTX's models have in common: how much their autoencoders shrink a video, the numbers that
normalise its latents, which are among their weights, and a first frame in the place of x's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Part

if TYPE_CHECKING:
    from torch import Tensor


LEVELS = (True, True, True, False)


def ratios(config: Mapping[str, Any], levels: Sequence[bool] = LEVELS) -> tuple[int, int]:
    """How many frames, and how many pixels a side, share a place of the latent.

    Args:
        levels: where the autoencoder halves both, where its config does not say it.
    """
    halvings = 2 ** sum(map(bool, config.get("spatio_temporal_scaling", levels)))
    frames = config.get("temporal_compression_ratio") or config.get("patch_size_t", 1) * halvings
    side = config.get("spatial_compression_ratio") or config.get("patch_size", 4) * halvings
    return int(frames), int(side)


def noise_ability(config: Mapping[str, Any]) -> list[str]:
    """The ability to have noise mixed into the final latents, of models whose decoder was trained
    to take the last step of denoising: its config says so."""
    return ["decode_noise"] if config.get("timestep_conditioning") else []


def statistics(part: Part, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, shaped as the latents (batch, channels, frames,
    height, width) are."""
    import torch

    numbers = dict(part.at_rest.named_buffers())
    mean, std = (numbers[name].to(like.device, torch.float32) for name in NAMES)
    mean, std = (n.view(1, -1, 1, 1, 1) for n in (mean, std))
    return mean, std / part.module.config.get("scaling_factor", 1.0)


NAMES = ("latents_mean", "latents_std")


def denormalised_noise(part: Part, x: Tensor, noise: Tensor, scale: float) -> Tensor:
    """Normalised latents with a share of noise in what the autoencoder has without normalising.

    Args:
        x, noise: (batch, channels, frames, height, width).
    """
    mean, std = statistics(part, x)
    mixed: Tensor = ((1 - scale) * (x * std + mean) + scale * noise - mean) / std
    return mixed


def with_first(x: Tensor, first: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """x with a clean first frame, whose tokens have the timestep 0 (HaCohen et al. 2024,
    arXiv:2501.00103, Section 2.5).

    Args:
        x: (rows, channels, frames, height, width).
        first: (rows, channels, 1, height, width).
        t: (rows,).
    Returns:
        x, and a timestep for each token, (rows, frames · height · width).
    """
    import torch

    shown = torch.cat([first.to(x.device), x[:, :, 1:]], dim=2)
    timesteps = t[:, None].repeat(1, x[0, 0].numel())
    timesteps[:, : x[0, 0, 0].numel()] = 0
    return shown, timesteps


def seen_from(output: Tensor, x: Tensor, shown: Tensor, sigma: Tensor) -> Tensor:
    """The velocity at x that stands for the same x0 as the network's does at what it was shown in
    the place of x; so a guidance sees what it would see of a first frame that is kept clean.

    Args:
        output, x, shown: (rows, channels, frames, height, width).
        sigma: (rows,) or (rows, 1).
    """
    import torch

    first = output[:, :, :1] + (x - shown)[:, :, :1] / sigma.view(-1, 1, 1, 1, 1)
    return torch.cat([first, output[:, :, 1:]], dim=2)
