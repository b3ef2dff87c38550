"""Noise that depends on the seed of its image alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ldm_core.numerics.callables import Noise
from ldm_core.numerics.noise_kinds import NoiseKind


class SeededNoise:
    """One random stream for each image, so that batch size and order change nothing.

    Calling it returns the streams' next unit Gaussian noise, (batch, *shape) float32. Each image
    draws ``randn((1, *shape))`` on the CPU, as Diffusers does for a list of generators; so the
    noise is also the same on every device.

    Args:
        kind: what is made of such draws; white noise where not given.

    Attributes:
        device: where the noise is handed over.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        device: torch.device,
        kind: NoiseKind | None = None,
    ) -> None:
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self._shape = (1, *shape)
        self.device = device
        self._kind = kind

    def __call__(self) -> Tensor:
        if self._kind is None:
            return self.white()
        draws = [self._kind(partial(_draw, g), self._shape) for g in self._generators]
        return torch.cat(draws).to(self.device)

    def white(self) -> Tensor:
        """The streams' next white noise, whatever the kind: for what is no noise of the path, such
        as a draw from an autoencoder's posterior."""
        draws = [torch.randn(self._shape, generator=g) for g in self._generators]
        return torch.cat(draws).to(self.device)


def is_on(noise: Noise, device: torch.device) -> bool:
    """Whether noise comes from images' own streams, on this device."""
    return isinstance(noise, SeededNoise) and noise.device == device


def white(noise: Noise) -> Noise:
    """White noise from the same streams, where noise of another kind comes from images' own."""
    return noise.white if isinstance(noise, SeededNoise) else noise


def _draw(generator: torch.Generator, shape: Sequence[int]) -> Tensor:
    return torch.randn(tuple(shape), generator=generator)
