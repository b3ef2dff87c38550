"""The numbers by which latents are normalised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Part

if TYPE_CHECKING:
    from torch import Tensor


def normalisation(config: Mapping[str, Any], like: Tensor) -> tuple[Any, Any]:
    """Scale and shift that give latents ``(z - shift) · scale`` about unit variance and zero mean,
    of each channel where there are statistics of each.

    Args:
        config: ``scaling_factor``, ``shift_factor``, ``latents_mean`` and ``latents_std``, each of
            which may be missing.
        like: latents (batch, channels, ...), on whose device the numbers are to be.
    """
    import torch

    scale, shift = config.get("scaling_factor") or 1.0, config.get("shift_factor") or 0.0
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is None or std is None:
        return scale, shift
    shape = (1, -1, *(1 for _ in like.shape[2:]))
    means, stds = (torch.as_tensor(v, device=like.device).view(shape) for v in (mean, std))
    return scale / stds, means


STATISTICS = ("latents_mean", "latents_std")


def buffered(part: Part) -> Mapping[str, Any]:
    """What the latents of an autoencoder are normalised by: of each channel in its config, or, as
    LTX's models have them, among its weights."""
    buffers = dict(part.at_rest.named_buffers())
    return {**part.module.config, **{n: buffers[n].float() for n in STATISTICS if n in buffers}}
