"""Train the denoiser of a latent diffusion model, text encoder and UNet together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.prediction import PredictionType, training_target
from ldm_pipelines.training.data import open_source, step_rng
from ldm_pipelines.training.folder import SCHEDULE, read_autoencoder, write_stable_diffusion
from ldm_pipelines.training.loop import make_accelerator, train
from ldm_pipelines.training.losses import add_noise, denoising_loss, reparameterise
from ldm_pipelines.training.networks import (
    build_text_encoder,
    build_unet,
    silence_unseen_tokens,
)
from ldm_pipelines.training.pool import PoolOfStep
from ldm_pipelines.training.timesteps import draw_timesteps
from ldm_pipelines.training.tokenizer import build_tokenizer, first_fragment, words_of

CAPTION_DROPOUT = 0.1  # Ho & Salimans 2022, arXiv:2207.12598, section 3.1
EMA_DECAY = 0.999
PREDICTION: PredictionType = "v_prediction"


class DenoisingLoss(nn.Module):
    """Text encoder and UNet with their loss: ``forward(…)`` is a scalar."""

    def __init__(self, text_encoder: nn.Module, unet: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(self, x: Tensor, target: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """x, target (batch, channels, h, w); timesteps (batch,); tokens (batch, length)."""
        text = self.text_encoder(tokens).last_hidden_state
        prediction = self.unet(x, timesteps, encoder_hidden_states=text).sample
        return denoising_loss(prediction.float(), target)


class Batches:
    """What `DenoisingLoss` takes at a step of a process, the same each time it is asked."""

    def __init__(
        self, pool: PoolOfStep, empty: Tensor, *, batch_size: int, seed: int, rank: int
    ) -> None:
        self.pool, self.empty = pool, empty
        self.batch_size, self.seed, self.rank = batch_size, seed, rank
        schedule = vp_schedule(**SCHEDULE)
        self.alphas = torch.from_numpy(schedule.alphas).float()
        self.sigmas = torch.from_numpy(schedule.sigmas).float()

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rng = step_rng(self.seed, step, self.rank)
        pool = self.pool(step)
        device = pool.mean.device
        chosen = torch.from_numpy(rng.integers(len(pool.mean), size=self.batch_size)).to(device)
        mean, log_variance = pool.mean[chosen], pool.log_variance[chosen]
        tokens = pool.tokens[chosen]
        dropped = torch.from_numpy(rng.random(self.batch_size) < CAPTION_DROPOUT).to(device)
        tokens = torch.where(dropped[:, None], self.empty.to(device), tokens)
        timesteps = torch.from_numpy(draw_timesteps(rng, self.batch_size, len(self.alphas)))
        alpha = self.alphas[timesteps].view(-1, 1, 1, 1).to(device)
        sigma = self.sigmas[timesteps].view(-1, 1, 1, 1).to(device)
        spread, noise = (
            torch.from_numpy(rng.standard_normal(mean.shape, np.float32)).to(device)
            for _ in range(2)
        )
        x0 = reparameterise(mean, log_variance, spread)
        target = training_target(PREDICTION, x0, noise, alpha, sigma)
        return add_noise(x0, noise, alpha, sigma), target, timesteps.to(device), tokens


def train_denoiser(
    *,
    data: str,
    autoencoder: Path,
    out: Path,
    resolution: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    warmup: int,
    max_tokens: int,
    pool_size: int,
    pool_steps: int,
    mixed_precision: str,
    seed: int,
    resume: bool,
    checkpoint_seconds: float,
) -> None:
    """See `ldm_pipelines.training.commands.train_denoiser`."""
    if min(steps, batch_size, pool_size, pool_steps) < 1:
        raise ValueError("steps, batch_size, pool_size and pool_steps must be at least 1")
    source = open_source(data, resolution=resolution, need_captions=True)
    vae = read_autoencoder(autoencoder)
    accelerator = make_accelerator(mixed_precision)
    device, rank = accelerator.device, accelerator.process_index
    words = words_of(source.texts())
    tokenizer = build_tokenizer(words, max_tokens)
    text_encoder = build_text_encoder(tokenizer, seed)
    silence_unseen_tokens(text_encoder, tokenizer, first_fragment(words))
    unet = build_unet(vae.config.latent_channels, resolution // 8, seed)
    module = DenoisingLoss(text_encoder, unet)

    def tokenize(captions: list[str]) -> Tensor:
        found = tokenizer(
            captions, padding="max_length", truncation=True, max_length=max_tokens,
            return_tensors="pt",
        )  # fmt: skip
        tokens: Tensor = found.input_ids
        return tokens

    pool = PoolOfStep(
        source, vae.to(device, memory_format=torch.channels_last), tokenize, size=pool_size,
        refresh=pool_steps, seed=seed, rank=rank, device=device, context=accelerator.autocast,
    )  # fmt: skip
    batches = Batches(pool, tokenize([""])[0], batch_size=batch_size, seed=seed, rank=rank)
    settings = {
        "data": data,
        "resolution": resolution,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "max_tokens": max_tokens,
        "pool_size": pool_size,
        "pool_steps": pool_steps,
        "mixed_precision": mixed_precision,
        "seed": seed,
        "processes": accelerator.num_processes,
    }
    weights = train(
        accelerator, module, batches, folder=out, settings=settings, steps=steps,
        learning_rate=learning_rate, warmup=warmup, ema_decay=EMA_DECAY, resume=resume,
        checkpoint_seconds=checkpoint_seconds,
    )  # fmt: skip
    if accelerator.is_main_process:
        module.load_state_dict(weights)
        write_stable_diffusion(
            out / "model", autoencoder, module.text_encoder, tokenizer, module.unet
        )
    accelerator.wait_for_everyone()
    accelerator.end_training()
