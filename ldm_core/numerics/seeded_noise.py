"""Noise that depends on the seed of its image alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class SeededNoise:
    """One random stream for each image, so that batch size and order change nothing.

    Calling it returns the streams' next unit Gaussian noise, (batch, *shape) float32. Each image
    draws ``randn((1, *shape))`` on the CPU, as Diffusers does for a list of generators; so the
    noise is also the same on every device.
    """

    def __init__(self, seeds: Sequence[int], shape: Sequence[int], device: torch.device) -> None:
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self._shape = (1, *shape)
        self._device = device

    def __call__(self) -> Tensor:
        draws = [torch.randn(self._shape, generator=g) for g in self._generators]
        return torch.cat(draws).to(self._device)
