"""What a denoiser sees at a step of its training: noisy latents, their targets and captions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.prediction import training_target
from ldm_pipelines.training.data import Source, step_rng
from ldm_pipelines.training.folder import PREDICTION, SCHEDULE
from ldm_pipelines.training.losses import add_noise, reparameterise
from ldm_pipelines.training.pool import PoolOfStep
from ldm_pipelines.training.settings import LatentSettings
from ldm_pipelines.training.timesteps import draw_timesteps

if TYPE_CHECKING:
    from accelerate import Accelerator

CAPTION_DROPOUT = 0.1  # Ho & Salimans 2022, arXiv:2207.12598, section 3.1


class Batches:
    """What a denoising loss takes at a step of a process, the same each time it is asked.

    Args:
        empty: token numbers that stand for no caption, (length,).
    """

    def __init__(
        self, pool: PoolOfStep, empty: Tensor, *, batch_size: int, seed: int, rank: int
    ) -> None:
        self.pool, self.empty = pool, empty
        self.batch_size, self.seed, self.rank = batch_size, seed, rank
        schedule = vp_schedule(**SCHEDULE)
        self.alphas = torch.from_numpy(schedule.alphas).float()
        self.sigmas = torch.from_numpy(schedule.sigmas).float()

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x and its target (batch, channels, h, w), timesteps (batch,), tokens (batch, length)."""
        rng = step_rng(self.seed, step, self.rank)
        pool = self.pool(step)

        def there(values: Any) -> Tensor:
            """On the pool's device, without waiting for what is still to be computed there."""
            return torch.as_tensor(values).to(pool.mean.device, non_blocking=True)

        numbers = there(rng.integers(len(pool.mean), size=self.batch_size))
        mean, log_variance = pool.mean[numbers], pool.log_variance[numbers]
        silent = there(rng.random(self.batch_size) < CAPTION_DROPOUT)
        tokens = torch.where(silent[:, None], there(self.empty), pool.tokens[numbers])
        timesteps = torch.from_numpy(draw_timesteps(rng, self.batch_size, len(self.alphas)))
        alpha = there(self.alphas[timesteps].view(-1, 1, 1, 1))
        sigma = there(self.sigmas[timesteps].view(-1, 1, 1, 1))
        spread, noise = (there(rng.standard_normal(mean.shape, np.float32)) for _ in range(2))
        x0 = reparameterise(mean, log_variance, spread)
        target = training_target(PREDICTION, x0, noise, alpha, sigma)
        return add_noise(x0, noise, alpha, sigma), target, there(timesteps), tokens


def latent_batches(
    settings: LatentSettings,
    accelerator: Accelerator,
    source: Source,
    autoencoder: Any,
    tokenize: Callable[[list[str]], Tensor],
    empty: Tensor,
) -> Batches:
    """The batches of this process, drawn from a pool of the source's pictures.

    Args:
        tokenize: captions to token numbers, (pictures, length).
        empty: token numbers that stand for no caption, (length,).
    """
    seed, rank = settings.seed, accelerator.process_index
    pool = PoolOfStep(
        source,
        autoencoder.to(accelerator.device, memory_format=torch.channels_last),
        tokenize,
        size=settings.pool_size,
        refresh=settings.pool_steps,
        seed=seed,
        rank=rank,
        device=accelerator.device,
        context=accelerator.autocast,
    )
    return Batches(pool, empty, batch_size=settings.batch_size, seed=seed, rank=rank)
