"""Train the `tones` model: a Stable Audio folder whose autoencoder is set by `lapped`.

    python -m ldm_pipelines.tones.training OUT [--steps N] [--from-model FOLDER] …

It is one process of one thread, and continues from its last checkpoint.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ldm_core.numerics.prediction import training_target
from ldm_pipelines.tones.captions import RATE, SAMPLES, sounds
from ldm_pipelines.tones.folder import SIGMAS, write_stable_audio
from ldm_pipelines.tones.lapped import HOP, build_autoencoder, to_latents
from ldm_pipelines.tones.network import (
    build_network,
    build_projection,
    build_text_encoder,
    build_tokenizer,
    even_channels,
)
from ldm_pipelines.tones.world import draw_sound
from ldm_pipelines.training.batches import CAPTION_DROPOUT
from ldm_pipelines.training.data import step_rng
from ldm_pipelines.training.folder import PREDICTION
from ldm_pipelines.training.loop import make_accelerator, train_and_write
from ldm_pipelines.training.losses import add_noise, denoising_loss
from ldm_pipelines.training.settings import TrainingSettings
from ldm_pipelines.training.warm_start import take_weights

PLACES = SAMPLES // HOP
EMA_DECAY = 0.995
LOG_SIGMA = (math.log(2.5), 1.6)  # mean and deviation of ln(sigma) in training


@dataclass(frozen=True, kw_only=True)
class TonesSettings(TrainingSettings):
    """What this training takes."""

    data: str = "tones"
    steps: int = 1600
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup: int = 60
    mixed_precision: str = "no"


class SoundLoss(nn.Module):
    """Text encoder, projection and network with their loss: ``forward(…)`` is a scalar."""

    def __init__(self, text_encoder: nn.Module, projection: nn.Module, network: Any) -> None:
        from diffusers.models.embeddings import get_1d_rotary_pos_embed

        super().__init__()
        self.text_encoder = text_encoder
        self.projection = projection
        self.network = network
        turned = network.config.attention_head_dim // 2
        self.turns = get_1d_rotary_pos_embed(
            turned, torch.arange(PLACES + 1), use_real=True, repeat_interleave_real=False
        )

    def forward(
        self, x: Tensor, target: Tensor, sigma: Tensor, tokens: Tensor, mask: Tensor, said: Tensor
    ) -> Tensor:
        """x, target (batch, channels, places); sigma (batch,); tokens, mask (batch, length); said
        (batch,) is 0 where the network is told no text."""
        states = self.text_encoder(tokens, attention_mask=mask).last_hidden_state
        seconds = torch.full_like(sigma, SAMPLES / RATE)
        told = self.projection(states, torch.zeros_like(sigma), seconds)
        start, end = told.seconds_start_hidden_states, told.seconds_end_hidden_states
        text = torch.cat([told.text_hidden_states * mask[..., None], start, end], dim=1)
        prediction = self.network(
            x,
            sigma.atan() / math.pi * 2,
            encoder_hidden_states=text * said[:, None, None],
            global_hidden_states=torch.cat([start, end], dim=2),
            rotary_embedding=self.turns,
        ).sample
        return denoising_loss(prediction.float(), target)


class Sounds:
    """The batch of a step, the same each time it is asked.

    Args:
        tokenize: captions to token numbers and which of them are words, both (sounds, length).
    """

    def __init__(self, settings: TonesSettings, tokenize: Any) -> None:
        self.settings, self.tokenize = settings, tokenize

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        """What `SoundLoss.forward` takes; x is at unit variance, as the network sees it."""
        rng, count = step_rng(self.settings.seed, step, 0), self.settings.batch_size
        choices = sounds()
        drawn = [choices[i] for i in rng.integers(len(choices), size=count)]
        x0 = to_latents(torch.from_numpy(np.stack([draw_sound(s, rng) for s in drawn])))
        noise = torch.from_numpy(rng.standard_normal(x0.shape, np.float32))
        sigma = torch.from_numpy(np.clip(np.exp(rng.normal(*LOG_SIGMA, count)), *SIGMAS)).float()
        length = (1 + sigma**2).sqrt()
        level = {"alpha": (1 / length)[:, None, None], "sigma": (sigma / length)[:, None, None]}
        said = torch.from_numpy(rng.random(count) >= CAPTION_DROPOUT).float()
        tokens, mask = self.tokenize([sound.caption for sound in drawn])
        target = training_target(PREDICTION, x0, noise, **level)
        return add_noise(x0, noise, **level), target, sigma, tokens, mask, said


def train(settings: TonesSettings) -> None:
    """Train and write a Stable Audio folder, ``model``, into the output.

    Raises:
        LdmError: as `ldm_pipelines.training.commands.train_denoiser`.
    """
    settings.check_free()
    accelerator = make_accelerator(settings.mixed_precision)
    tokenizer = build_tokenizer(sound.caption for sound in sounds())
    networks = {
        "text_encoder": build_text_encoder(tokenizer, settings.seed),
        "projection_model": build_projection(settings.seed),
        "transformer": build_network(PLACES, settings.seed),
    }
    if settings.from_model is not None:
        for name, network in networks.items():
            take_weights(network, settings.from_model, name)
        even_channels(networks["transformer"])

    def tokenize(captions: list[str]) -> tuple[Tensor, Tensor]:
        encoding = tokenizer(captions, padding="max_length", return_tensors="pt")
        return encoding.input_ids, encoding.attention_mask

    def write() -> None:
        place = settings.out / settings.result
        write_stable_audio(place, build_autoencoder(RATE), networks, tokenizer)

    train_and_write(
        settings,
        accelerator,
        SoundLoss(*networks.values()),
        Sounds(settings, tokenize),
        write,
        ema_decay=EMA_DECAY,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=TonesSettings.steps)
    parser.add_argument("--batch-size", type=int, default=TonesSettings.batch_size)
    parser.add_argument("--learning-rate", type=float, default=TonesSettings.learning_rate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from-model", type=Path, help="folder whose weights the run starts from")
    train(TonesSettings(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
