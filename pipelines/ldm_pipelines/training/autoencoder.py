"""Train an `AutoencoderKL`: pictures to latents of an eighth of their side, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ldm_pipelines.training.ahead import Ahead
from ldm_pipelines.training.data import Pictures, Source, open_source, step_rng
from ldm_pipelines.training.folder import halved, new_folder
from ldm_pipelines.training.loop import make_accelerator, train_and_write
from ldm_pipelines.training.losses import (
    kl_to_standard_normal,
    reconstruction_loss,
    reparameterise,
)
from ldm_pipelines.training.settings import AutoencoderSettings
from ldm_pipelines.training.warm_start import take_weights

CROP = 32
STATISTICS_PICTURES = 2048


def build_autoencoder(latent_channels: int, seed: int) -> Any:
    """A small `diffusers.AutoencoderKL`, f = 8, initialised so that a short run learns."""
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    levels = (16, 32, 64, 64)
    autoencoder = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(levels),
        up_block_types=("UpDecoderBlock2D",) * len(levels),
        block_out_channels=levels,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=1,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    initialise(autoencoder)
    return autoencoder


@torch.no_grad()
def initialise(autoencoder: nn.Module) -> None:
    """Unit-variance convolutions, near-identity residual blocks and little latent noise.

    PyTorch's own convolution weights have variance 1 / (3 fan_in), which lets the signal die out
    over the levels; ×√3 makes it 1 / fan_in (LeCun et al. 1998, "Efficient BackProp", Eq. 16).
    """
    for name, layer in autoencoder.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.mul_(math.sqrt(3))
            if name.endswith("conv2"):
                layer.weight.mul_(0.1)
    quant = autoencoder.get_submodule("quant_conv")
    assert isinstance(quant, nn.Conv2d)
    assert quant.bias is not None
    quant.bias[quant.out_channels // 2 :] = -5.0


class AutoencoderLoss(nn.Module):
    """The autoencoder with its loss: ``forward(pictures, noise)`` is a scalar."""

    def __init__(self, autoencoder: Any, kl_weight: float) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.kl_weight = kl_weight

    def forward(self, pictures: Tensor, noise: Tensor) -> Tensor:
        """Pictures (batch, 3, side, side) in [-1, 1], noise (batch, channels, side/8, side/8).

        The KL divergence is divided by the number of values of a picture, as the
        reconstruction loss is, so that their ratio does not depend on the resolution.
        """
        posterior = self.autoencoder.encode(pictures).latent_dist
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        output = self.autoencoder.decode(reparameterise(mean, log_variance, noise)).sample
        kl = kl_to_standard_normal(mean, log_variance).mean() / pictures[0].numel()
        return reconstruction_loss(pictures, output.float()) + self.kl_weight * kl


def to_tensor(pictures: Pictures, device: torch.device) -> Tensor:
    """uint8 (batch, side, side, 3) to float32 (batch, 3, side, side) in [-1, 1], channels last."""
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).to(device, non_blocking=True)
    return pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def detailed_crops(pictures: Pictures, rng: np.random.Generator, tries: int = 4) -> Pictures:
    """From each picture the liveliest of a few random crops, (batch, 32, 32, 3).

    Most of a picture may be plain background; a crop costs a fraction of the picture and holds
    most of its edges.
    """
    crops = np.empty((len(pictures), CROP, CROP, 3), np.uint8)
    corners = rng.integers(pictures.shape[1] - CROP + 1, size=(len(pictures), tries, 2))
    for i, picture in enumerate(pictures):
        windows = [picture[y : y + CROP, x : x + CROP] for y, x in corners[i]]
        crops[i] = max(windows, key=lambda w: float(w.std(axis=(0, 1)).sum()))
    return crops


@torch.no_grad()
def standardise_latents(autoencoder: Any, pictures: Tensor) -> None:
    """Fold the latents' mean and deviation into the 1 x 1 convolutions on either side of them.

    Afterwards each channel of the latents of `pictures` has mean 0 and variance 1, reconstructions
    are unchanged and a `scaling_factor` of 1 is right (Rombach et al. 2022, arXiv:2112.10752,
    appendix G, rescale by a factor kept beside the weights).
    """
    channels = autoencoder.config.latent_channels
    posteriors = [autoencoder.encode(part).latent_dist for part in torch.split(pictures, 128)]
    means = torch.cat([d.mean for d in posteriors]).transpose(0, 1).flatten(1)
    variances = torch.cat([d.var for d in posteriors]).transpose(0, 1).flatten(1)
    centre = means.mean(1)
    deviation = (means.var(1) + variances.mean(1)).sqrt()
    quant, post = autoencoder.quant_conv, autoencoder.post_quant_conv
    quant.weight[:channels] /= deviation[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - centre) / deviation
    quant.bias[channels:] -= 2 * deviation.log()
    post.bias += post.weight[:, :, 0, 0] @ centre
    post.weight *= deviation[None, :, None, None]


@dataclass(frozen=True)
class DrawnBatches:
    """Pictures and noise of a step of a process, drawn on the CPU from the step's own generator."""

    source: Source
    settings: AutoencoderSettings
    rank: int

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Pictures, uint8 (batch, side, side, 3), and noise (batch, channels, side/8, side/8)."""
        settings = self.settings
        rng = step_rng(settings.seed, step, self.rank)
        pictures, _ = self.source.draw(rng, settings.batch_size)
        if step < settings.crop_steps and settings.resolution > CROP:
            pictures = detailed_crops(pictures, rng)
        cells = pictures.shape[1] // 8
        shape = (settings.batch_size, settings.latent_channels, cells, cells)
        noise = rng.standard_normal(shape, np.float32)
        return torch.from_numpy(np.ascontiguousarray(pictures)), torch.from_numpy(noise)


def train_autoencoder(settings: AutoencoderSettings) -> None:
    """See `ldm_pipelines.training.commands.train_autoencoder`."""
    settings.check_free()
    source = open_source(settings.data, resolution=settings.resolution)
    accelerator = make_accelerator(settings.mixed_precision)
    device, seed = accelerator.device, settings.seed
    autoencoder = build_autoencoder(settings.latent_channels, seed)
    if settings.from_model is not None:
        take_weights(autoencoder, settings.from_model, "vae")
    if settings.decoder_only:
        autoencoder.encoder.requires_grad_(False)
        autoencoder.quant_conv.requires_grad_(False)
    module = AutoencoderLoss(autoencoder, settings.kl_weight)
    drawn = Ahead(
        DrawnBatches(source, settings, accelerator.process_index),
        settings.steps,
        settings.num_workers,
    )

    def batch_of_step(step: int) -> tuple[Tensor, Tensor]:
        pictures, noise = drawn(step)
        return to_tensor(pictures.numpy(), device), noise.to(device, non_blocking=True)

    def write() -> None:
        module.to("cpu").eval()
        if not settings.decoder_only:
            pictures, _ = source.draw(step_rng(seed, settings.steps, 0), STATISTICS_PICTURES)
            standardise_latents(module.autoencoder, to_tensor(pictures, torch.device("cpu")))
        with new_folder(settings.out / settings.result) as folder:
            halved(module.autoencoder).save_pretrained(folder)

    train_and_write(settings, accelerator, module, batch_of_step, write)
