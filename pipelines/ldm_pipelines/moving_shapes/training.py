"""Train the `moving-shapes` model: an AnimateDiff folder on the autoencoder of `shapes`.

    python -m ldm_pipelines.moving_shapes.training OUT [--steps N] [--from-model FOLDER] …

It is one process of one thread, and continues from its last checkpoint.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.prediction import training_target
from ldm_pipelines.moving_shapes.network import (
    build_network,
    take_text_weights,
    tell_directions_apart,
)
from ldm_pipelines.moving_shapes.scenes import Motion, motions
from ldm_pipelines.moving_shapes.world import draw_video
from ldm_pipelines.training.autoencoder import to_tensor
from ldm_pipelines.training.batches import CAPTION_DROPOUT
from ldm_pipelines.training.data import step_rng
from ldm_pipelines.training.folder import PREDICTION, read_autoencoder, write_animatediff
from ldm_pipelines.training.loop import make_accelerator, train_and_write
from ldm_pipelines.training.losses import add_noise
from ldm_pipelines.training.networks import build_text_encoder
from ldm_pipelines.training.pool import POOL
from ldm_pipelines.training.settings import LatentSettings
from ldm_pipelines.training.tokenizer import build_tokenizer, words_of
from ldm_pipelines.training.warm_start import take_weights

SHAPES = Path(__file__).parent.parent / "models" / "shapes"
SCHEDULE: dict[str, Any] = {  # Ho et al. 2020, arXiv:2006.11239, section 4
    "beta_schedule": "linear",
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "num_train_timesteps": 1000,
}
"""Its last point is noise and no more: five hundred latents that share a background would show it
through the noise of the usual schedule of latents, and the network would learn to look, not to
read."""
LAST = SCHEDULE["num_train_timesteps"] - 1
MAX_TOKENS = 12  # ten words, begin and end
EMA_DECAY = 0.99
NOISY = 0.7  # of all timesteps: beyond, nothing but the caption says what is to be seen


@dataclass(frozen=True, kw_only=True)
class MovingSettings(LatentSettings):
    """What this training takes; videos take the place of pictures.

    Args:
        quiet_steps: Number of first updates in which the network sees no noise and no video, so
            that the caption alone tells it what to draw.
        noisy_steps: Number of first updates for which two thirds of the timesteps are among the
            last three tenths, where nothing but the caption says what is to be seen.
        lean: Weight of the error in what tells a video from its opposite; what both have has 1.
        batch_size: Videos per update, each with its opposite: an even number.
        pool_size: Encoded videos that are kept, without their opposites.
    """

    data: str = "moving-shapes"
    resolution: int = 64
    steps: int = 2400
    quiet_steps: int = 350
    noisy_steps: int = 1200
    lean: float = 4.0
    batch_size: int = 8
    learning_rate: float = 1.5e-3
    warmup: int = 60
    pool_size: int = 200
    pool_steps: int = 1000
    mixed_precision: str = "no"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % 2:
            raise LdmError(
                f"batch_size must be even, not {self.batch_size}",
                "each video comes with its opposite.",
            )


class VideoLoss(nn.Module):
    """Text encoder and UNet with their loss: ``forward(…)`` is a scalar."""

    def __init__(self, text_encoder: nn.Module, unet: nn.Module, lean: float) -> None:
        super().__init__()
        self.lean = lean
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(self, x: Tensor, target: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """x, target (batch, channels, frames, h, w); timesteps (batch,); tokens (batch, length)."""
        text = self.text_encoder(tokens).last_hidden_state.repeat_interleave(x.shape[2], dim=0)
        prediction = self.unet(x, timesteps, encoder_hidden_states=text).sample
        return opposites_loss(prediction.float() - target, self.lean)


def opposites_loss(error: Tensor, lean: float) -> Tensor:
    """Mean square of the error, (2·n, …), with another weight, `lean`, on how each video of the
    first half differs from its opposite, which is in the same place of the second.

    The weight changes nothing of where the least lies, an error of 0; but a network that draws
    both ways at once is further from it.
    """
    one, other = error.chunk(2)
    both, apart = (one + other) / 2, (one - other) / 2
    return both.square().mean() + lean * apart.square().mean()


class Videos:
    """The batch of a step, the same each time it is asked, from a pool of encoded videos.

    Each video comes with its opposite, which is the same backwards, under the same noise: so that
    nothing but the caption and what shows through the noise tells them apart.

    Args:
        tokenize: captions to token numbers, (videos, length).
    """

    def __init__(self, settings: MovingSettings, autoencoder: Any, tokenize: Any) -> None:
        self.settings, self.autoencoder, self.tokenize = settings, autoencoder, tokenize
        schedule = vp_schedule(**SCHEDULE)
        self.alphas = torch.from_numpy(schedule.alphas).float()
        self.sigmas = torch.from_numpy(schedule.sigmas).float()
        self.empty = tokenize([""])
        self.number, self.latents, self.tokens = -1, torch.empty(0), torch.empty(0)

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x and target (batch, 4, 8, 8, 8), timesteps (batch,), tokens (batch, length)."""
        if step // self.settings.pool_steps != self.number:
            self.number = step // self.settings.pool_steps
            self._draw()
        rng, half = step_rng(self.settings.seed, step, 0), self.settings.batch_size // 2
        numbers = torch.from_numpy(rng.integers(len(self.latents), size=half))
        silent = torch.from_numpy(rng.random(half) < CAPTION_DROPOUT).repeat(2)
        x0 = self.latents[numbers].transpose(0, 1).flatten(0, 1)
        tokens = self.tokens[numbers].transpose(0, 1).flatten(0, 1)
        tokens = torch.where(silent[:, None], self.empty, tokens)
        noisy = step < self.settings.noisy_steps
        drawn = draw_timesteps(rng, half, len(self.alphas), noisy=noisy)
        timesteps = torch.from_numpy(drawn).repeat(2)
        if step < self.settings.quiet_steps:
            return torch.zeros_like(x0), -x0, torch.full_like(timesteps, LAST), tokens
        alpha, sigma = (v[timesteps].view(-1, 1, 1, 1, 1) for v in (self.alphas, self.sigmas))
        noise = torch.from_numpy(rng.standard_normal((half, *x0.shape[1:]), np.float32))
        noise = noise.repeat(2, 1, 1, 1, 1)
        target = training_target(PREDICTION, x0, noise, alpha, sigma)
        return add_noise(x0, noise, alpha, sigma), target, timesteps, tokens

    @torch.no_grad()
    def _draw(self) -> None:
        rng = step_rng(self.settings.seed, self.number, 0, POOL)
        choices = [m for m in motions(held_out=False) if not opposite(m).held_out]
        latents, captions = [], []
        for _ in range(self.settings.pool_size):
            motion = choices[rng.integers(len(choices))]
            frames = to_tensor(draw_video(motion, rng), torch.device("cpu"))
            mean = self.autoencoder.encode(frames).latent_dist.mean.transpose(0, 1)
            latents.append(torch.stack([mean, mean.flip(1)]))
            captions += [motion.caption, opposite(motion).caption]
        self.latents = torch.stack(latents)
        self.tokens = self.tokenize(captions).unflatten(0, (-1, 2))


def draw_timesteps(
    rng: np.random.Generator, batch: int, num_train_timesteps: int, *, noisy: bool
) -> npt.NDArray[np.int64]:
    """Timesteps 0 … T-1, evenly spread; two thirds of noisy ones from `NOISY` on; (batch,)."""
    spread = (rng.permutation(batch) + rng.random(batch)) / batch
    if noisy:
        spread = np.interp(spread, [0.0, 0.35, 1.0], [0.0, NOISY, 1.0])
    return np.minimum((spread * num_train_timesteps).astype(np.int64), num_train_timesteps - 1)


def opposite(motion: Motion) -> Motion:
    """The motion of the same video backwards."""
    ways = {"right": "left", "left": "right", "up": "down", "down": "up"}
    return Motion(motion.shape, motion.colour, ways[motion.direction], motion.background)


def train(settings: MovingSettings, shapes: Path = SHAPES) -> None:
    """Train and write an AnimateDiff folder, ``model``, into the output.

    Args:
        shapes: model folder whose autoencoder is taken, and whose text encoder is begun with.
    Raises:
        LdmError: as `ldm_pipelines.training.commands.train_denoiser`.
    """
    settings.check_free()
    autoencoder = read_autoencoder(settings.autoencoder).to(memory_format=torch.channels_last)
    accelerator = make_accelerator(settings.mixed_precision)
    every = [m.caption for held_out in (False, True) for m in motions(held_out=held_out)]
    tokenizer = build_tokenizer(words_of(every), MAX_TOKENS)
    text_encoder = build_text_encoder(tokenizer, settings.seed)
    take_text_weights(text_encoder, tokenizer, shapes)
    tell_directions_apart(text_encoder, tokenizer, settings.seed)
    unet = build_network(settings.seed)
    if settings.from_model is not None:
        take_text_weights(text_encoder, tokenizer, settings.from_model)
        take_weights(unet, settings.from_model, "unet")

    def tokenize(captions: list[str]) -> Tensor:
        encoding = tokenizer(
            captions, padding="max_length", truncation=True, max_length=MAX_TOKENS,
            return_tensors="pt",
        )  # fmt: skip
        tokens: Tensor = encoding.input_ids
        return tokens

    def write() -> None:
        place = settings.out / settings.result
        write_animatediff(place, settings.autoencoder, text_encoder, tokenizer, unet, SCHEDULE)

    train_and_write(
        settings,
        accelerator,
        VideoLoss(text_encoder, unet, settings.lean),
        Videos(settings, autoencoder, tokenize),
        write,
        ema_decay=EMA_DECAY,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=MovingSettings.steps)
    parser.add_argument("--quiet-steps", type=int, default=MovingSettings.quiet_steps)
    parser.add_argument("--noisy-steps", type=int, default=MovingSettings.noisy_steps)
    parser.add_argument("--lean", type=float, default=MovingSettings.lean)
    parser.add_argument("--learning-rate", type=float, default=MovingSettings.learning_rate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from-model", type=Path, help="folder whose weights the run starts from")
    train(MovingSettings(autoencoder=SHAPES, **vars(parser.parse_args())))


if __name__ == "__main__":
    main()
