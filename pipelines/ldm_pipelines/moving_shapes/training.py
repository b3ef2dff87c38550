"""Train the `moving-shapes` model: an AnimateDiff folder on the autoencoder of `shapes`.

    python -m ldm_pipelines.moving_shapes.training OUT [--steps N] [--seed N] [--from-model FOLDER]

It is one process of one thread, and continues from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.prediction import training_target
from ldm_pipelines.moving_shapes.scenes import DIRECTIONS, FRAMES, Motion, motions
from ldm_pipelines.moving_shapes.world import draw_video
from ldm_pipelines.training.autoencoder import to_tensor
from ldm_pipelines.training.batches import CAPTION_DROPOUT
from ldm_pipelines.training.data import step_rng
from ldm_pipelines.training.folder import PREDICTION, read_autoencoder, write_animatediff
from ldm_pipelines.training.loop import make_accelerator, train_and_write
from ldm_pipelines.training.losses import add_noise, denoising_loss
from ldm_pipelines.training.networks import WIDTH, build_text_encoder
from ldm_pipelines.training.pool import POOL
from ldm_pipelines.training.settings import LatentSettings
from ldm_pipelines.training.tokenizer import SPECIAL, SUFFIX, build_tokenizer, words_of
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
MAX_TOKENS = 12  # ten words, begin and end
EMA_DECAY = 0.995
NOISY = 0.7  # of all timesteps; half of what is drawn lies beyond, and more
LOUD, TRIES = 40.0, 30  # length of the directions' embeddings, others have 1; how many are tried


@dataclass(frozen=True, kw_only=True)
class MovingSettings(LatentSettings):
    """What this training takes; videos take the place of pictures."""

    data: str = "moving-shapes"
    resolution: int = 64
    steps: int = 4000
    batch_size: int = 8
    learning_rate: float = 1.5e-3
    warmup: int = 60
    pool_size: int = 480
    pool_steps: int = 1000
    mixed_precision: str = "no"


class VideoLoss(nn.Module):
    """Text encoder and UNet with their loss: ``forward(…)`` is a scalar."""

    def __init__(self, text_encoder: nn.Module, unet: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(self, x: Tensor, target: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """x, target (batch, channels, frames, h, w); timesteps (batch,); tokens (batch, length)."""
        text = self.text_encoder(tokens).last_hidden_state.repeat_interleave(x.shape[2], dim=0)
        prediction = self.unet(x, timesteps, encoder_hidden_states=text).sample
        return denoising_loss(prediction.float(), target)


class Videos:
    """The batch of a step, the same each time it is asked, from a pool of encoded videos.

    Each video is there a second time, backwards, as one of the opposite direction.

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
        rng, batch = step_rng(self.settings.seed, step, 0), self.settings.batch_size
        numbers = torch.from_numpy(rng.integers(len(self.latents), size=batch))
        silent = torch.from_numpy(rng.random(batch) < CAPTION_DROPOUT)
        tokens = torch.where(silent[:, None], self.empty, self.tokens[numbers])
        x0 = self.latents[numbers]
        timesteps = torch.from_numpy(noisy_timesteps(rng, batch, len(self.alphas)))
        alpha, sigma = (v[timesteps].view(-1, 1, 1, 1, 1) for v in (self.alphas, self.sigmas))
        noise = torch.from_numpy(rng.standard_normal(x0.shape, np.float32))
        target = training_target(PREDICTION, x0, noise, alpha, sigma)
        return add_noise(x0, noise, alpha, sigma), target, timesteps, tokens

    @torch.no_grad()
    def _draw(self) -> None:
        rng = step_rng(self.settings.seed, self.number, 0, POOL)
        choices = motions(held_out=False)
        latents, captions = [], []
        for _ in range(self.settings.pool_size):
            motion = choices[rng.integers(len(choices))]
            frames = to_tensor(draw_video(motion, rng), torch.device("cpu"))
            mean = self.autoencoder.encode(frames).latent_dist.mean.transpose(0, 1)
            latents.append(mean)
            captions.append(motion.caption)
            if not (backwards := opposite(motion)).held_out:
                latents.append(mean.flip(1))
                captions.append(backwards.caption)
        self.latents, self.tokens = torch.stack(latents), self.tokenize(captions)


def noisy_timesteps(
    rng: np.random.Generator, batch: int, num_train_timesteps: int
) -> npt.NDArray[np.int64]:
    """Timesteps 0 … T-1, half evenly from all and half from the last three tenths, where
    nothing but the caption says what is to be seen; shape (batch,)."""
    spread = (rng.permutation(batch) + rng.random(batch)) / batch
    fractions = np.interp(spread, [0.0, 0.35, 1.0], [0.0, NOISY, 1.0])
    steps = (fractions * num_train_timesteps).astype(np.int64)
    return np.minimum(steps, num_train_timesteps - 1)


def opposite(motion: Motion) -> Motion:
    """The motion of the same video backwards."""
    ways = {"right": "left", "left": "right", "up": "down", "down": "up"}
    return Motion(motion.shape, motion.colour, ways[motion.direction], motion.background)


def build_network(seed: int) -> Any:
    """A three-level `diffusers.UNetMotionModel`.

    Its attention to the text begins loud, and its frames know which they are: see `number_frames`.
    """
    from diffusers import UNetMotionModel

    torch.manual_seed(seed)
    unet = UNetMotionModel(
        sample_size=8,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        down_block_types=(
            "DownBlockMotion",
            "CrossAttnDownBlockMotion",
            "CrossAttnDownBlockMotion",
        ),
        up_block_types=("CrossAttnUpBlockMotion", "CrossAttnUpBlockMotion", "UpBlockMotion"),
        cross_attention_dim=WIDTH,
        num_attention_heads=4,
        norm_num_groups=8,
        motion_max_seq_length=FRAMES,
        motion_num_attention_heads=4,
    )
    with torch.no_grad():
        unet.conv_out.weight.mul_(0.1 * math.sqrt(3))
        for name, weight in unet.named_parameters():
            if "attn2.to_v" in name and weight.shape[1] == WIDTH:
                weight.mul_(3)
        number_frames(unet)
    return unet


@torch.no_grad()
def number_frames(unet: Any) -> None:
    """Begin the motion modules so that each frame's number reaches what is computed of it.

    With the sinusoids of long videos eight frames look nearly the same, and an attention that looks
    at all of them alike adds the same to each; none then knows which it is, and whence and whither
    are not told apart for thousands of steps. So the positions, which are stored with the weights,
    are mixtures of cosines over these eight frames, and in the first attention of each module,
    whose queries and keys begin as the same, each frame looks at itself.
    """
    frames = torch.arange(FRAMES) + 0.5
    waves = torch.cos(torch.pi / FRAMES * frames[:, None] * torch.arange(1, FRAMES))
    weights = dict(unet.named_parameters())
    for name, places in unet.named_buffers():
        if name.endswith("pos_embed.pe"):
            mixtures = torch.randn(FRAMES - 1, places.shape[-1]) * (2 / (FRAMES - 1)) ** 0.5
            places.copy_(1.5 * waves @ mixtures)
    for name, keys in weights.items():
        if "motion_modules" in name and name.endswith("attn1.to_k.weight"):
            keys.normal_(std=1.2 / math.sqrt(keys.shape[1]))
            weights[name.replace("to_k", "to_q")].copy_(keys)
            for louder in ("to_v", "to_out.0"):
                weights[name.replace("to_k", louder)].mul_(math.sqrt(3))


@torch.no_grad()
def take_text_weights(text_encoder: Any, tokenizer: Any, folder: Path) -> None:
    """Begin with the text encoder of `shapes`: every layer, and the words that both have."""
    from safetensors.torch import load_file

    trained = load_file(folder / "text_encoder" / "model.safetensors")
    numbers = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    own = text_encoder.state_dict()
    for name, weight in own.items():
        there = trained[name].float()
        if "token_embedding" in name:
            for word, number in tokenizer.get_vocab().items():
                if (word in SPECIAL or word.endswith(SUFFIX)) and word in numbers:
                    weight[number] = there[numbers[word]]
        elif "position_embedding" in name:
            weight.copy_(there[: len(weight)])
        else:
            weight.copy_(there)
    text_encoder.load_state_dict(own)


@torch.no_grad()
def tell_directions_apart(text_encoder: Any, tokenizer: Any, seed: int) -> None:
    """Begin the four words of direction with long embeddings, each orthogonal to the others.

    An encoder that was trained without them writes the shape's colour over theirs: its states
    for right and left then differ by a hundredth of what they do for red and blue, and the network
    does not hear it. Of some random embeddings those whose states differ most are taken.
    """
    table = text_encoder.get_input_embeddings().weight
    rows = tokenizer.convert_tokens_to_ids([word + SUFFIX for word in DIRECTIONS])
    captions = [Motion("circle", "red", word, "black").caption for word in DIRECTIONS]
    place = captions[0].split().index("right") + 1
    tokens = tokenizer(captions, return_tensors="pt").input_ids

    def apart() -> float:
        states = text_encoder(tokens).last_hidden_state[:, place]
        return float(torch.pdist(states).min())

    generator, best = torch.Generator().manual_seed(seed), (0.0, table[rows])
    for _ in range(TRIES):
        random = torch.randn(table.shape[1], len(rows), generator=generator)
        table[rows] = LOUD * torch.linalg.qr(random)[0].T
        best = max(best, (apart(), table[rows]), key=lambda pair: pair[0])
    table[rows] = best[1]


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
        take_weights(text_encoder, settings.from_model, "text_encoder")
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
        VideoLoss(text_encoder, unet),
        Videos(settings, autoencoder, tokenize),
        write,
        ema_decay=EMA_DECAY,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=MovingSettings.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from-model", type=Path, help="folder whose weights the run starts from")
    train(MovingSettings(autoencoder=SHAPES, **vars(parser.parse_args())))


if __name__ == "__main__":
    main()
