"""A pool of encoded pictures, so that the autoencoder runs once for several uses of a latent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ldm_pipelines.training.autoencoder import to_tensor
from ldm_pipelines.training.data import Source, step_rng

POOL = 1  # purpose of the random numbers, see step_rng


@dataclass
class Pool:
    """Posterior of the latents and token numbers of a number of captioned pictures."""

    mean: Tensor  # (pictures, channels, h, w)
    log_variance: Tensor  # (pictures, channels, h, w)
    tokens: Tensor  # (pictures, length)


class PoolOfStep:
    """Gives the pool that is in force at a step; a new one is drawn every `refresh` steps.

    Args:
        tokenize: captions to token numbers, (pictures, length).
        context: makes the context in which the autoencoder runs (mixed precision).
    """

    def __init__(
        self,
        source: Source,
        autoencoder: Any,
        tokenize: Callable[[list[str]], Tensor],
        *,
        size: int,
        refresh: int,
        seed: int,
        rank: int,
        device: torch.device,
        context: Callable[[], Any],
    ) -> None:
        self.source, self.autoencoder, self.tokenize = source, autoencoder, tokenize
        self.size, self.refresh, self.seed, self.rank = size, refresh, seed, rank
        self.device, self.context = device, context
        self._number = -1
        self._pool: Pool | None = None

    def __call__(self, step: int) -> Pool:
        number = step // self.refresh
        if self._pool is None or number != self._number:
            self._number, self._pool = number, self._encode(number)
        return self._pool

    @torch.no_grad()
    def _encode(self, number: int) -> Pool:
        rng = step_rng(self.seed, number, self.rank, POOL)
        means, log_variances, captions = [], [], []
        for start in range(0, self.size, 64):
            pictures, texts = self.source.draw(rng, min(64, self.size - start))
            with self.context():
                posterior = self.autoencoder.encode(to_tensor(pictures, self.device)).latent_dist
            means.append(posterior.mean.float())
            log_variances.append(posterior.logvar.float())
            captions += texts
        tokens = self.tokenize(captions).to(self.device)
        return Pool(torch.cat(means), torch.cat(log_variances), tokens)
