"""Train the denoiser of a class-conditional latent diffusion model, a diffusion transformer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ldm_pipelines.training.data import open_source, step_rng
from ldm_pipelines.training.denoiser import Batches
from ldm_pipelines.training.folder import read_autoencoder, write_dit
from ldm_pipelines.training.loop import make_accelerator, train
from ldm_pipelines.training.losses import denoising_loss
from ldm_pipelines.training.pool import PoolOfStep

NULL_CLASS = 1000  # Diffusers' DiTPipeline guides with this one, however few classes there are


class ClassDenoisingLoss(nn.Module):
    """The transformer with its loss: ``forward(…)`` is a scalar."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, x: Tensor, target: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        """x, target (batch, channels, h, w); timesteps (batch,); labels (batch, 1)."""
        prediction = self.transformer(x, timesteps, class_labels=labels[:, 0]).sample
        return denoising_loss(prediction.float(), target)


def build_transformer(
    latent_channels: int, latent_side: int, width: int, layers: int, seed: int
) -> Any:
    """A `diffusers.DiTTransformer2DModel` (Peebles & Xie 2022, arXiv:2212.09748), patches of one.

    Args:
        width: of the states; a multiple of 4, its number of heads.
    """
    from diffusers import DiTTransformer2DModel
    from diffusers.models.embeddings import LabelEmbedding

    torch.manual_seed(seed)
    transformer = DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=width // 4,
        in_channels=latent_channels,
        out_channels=latent_channels,
        num_layers=layers,
        sample_size=latent_side,
        patch_size=1,
        num_embeds_ada_norm=NULL_CLASS,
    )
    with torch.no_grad():
        for module in transformer.modules():
            if isinstance(module, LabelEmbedding):
                module.dropout_prob = 0.0  # the batches drop labels, the same in every block
        for block in transformer.transformer_blocks:
            # adaLN-Zero: each block starts as the identity, section 3.2 of the paper
            block.norm1.linear.weight.zero_()
            block.norm1.linear.bias.zero_()
        transformer.proj_out_2.weight.zero_()
        transformer.proj_out_2.bias.zero_()
    return transformer


def train_transformer(
    *,
    data: str,
    autoencoder: Path,
    out: Path,
    resolution: int,
    width: int,
    layers: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    warmup: int,
    ema_decay: float,
    pool_size: int,
    pool_steps: int,
    mixed_precision: str,
    seed: int,
    resume: bool,
    checkpoint_seconds: float,
) -> None:
    """See `ldm_pipelines.training.commands.train_transformer`."""
    if min(steps, batch_size, pool_size, pool_steps, width, layers) < 1 or width % 4:
        raise ValueError("steps, sizes and layers must be at least 1, and width a multiple of 4")
    source = open_source(data, resolution=resolution, need_captions=True)
    classes = sorted(set(source.texts()))
    if len(classes) > NULL_CLASS:
        raise ValueError(f"at most {NULL_CLASS} classes, not {len(classes)}")
    _, captions = source.draw(step_rng(seed, 0, 0), 16)
    if not set(captions) <= set(classes):
        raise ValueError(f"the captions of {data} are no classes; give digits or a folder")
    vae = read_autoencoder(autoencoder)
    accelerator = make_accelerator(mixed_precision)
    device, rank = accelerator.device, accelerator.process_index
    transformer = build_transformer(
        vae.config.latent_channels, resolution // 8, width, layers, seed
    )
    module = ClassDenoisingLoss(transformer)

    def number(captions: list[str]) -> Tensor:
        return torch.tensor([[classes.index(caption)] for caption in captions])

    pool = PoolOfStep(
        source, vae.to(device, memory_format=torch.channels_last), number, size=pool_size,
        refresh=pool_steps, seed=seed, rank=rank, device=device, context=accelerator.autocast,
    )  # fmt: skip
    null = torch.tensor([NULL_CLASS])
    batches = Batches(pool, null, batch_size=batch_size, seed=seed, rank=rank)
    settings = {
        "data": data,
        "resolution": resolution,
        "width": width,
        "layers": layers,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "ema_decay": ema_decay,
        "pool_size": pool_size,
        "pool_steps": pool_steps,
        "mixed_precision": mixed_precision,
        "seed": seed,
        "processes": accelerator.num_processes,
    }
    weights = train(
        accelerator, module, batches, folder=out, settings=settings, steps=steps,
        learning_rate=learning_rate, warmup=warmup, ema_decay=ema_decay, resume=resume,
        checkpoint_seconds=checkpoint_seconds,
    )  # fmt: skip
    if accelerator.is_main_process:
        module.load_state_dict(weights)
        write_dit(out / "model", autoencoder, module.transformer, classes)
    accelerator.wait_for_everyone()
    accelerator.end_training()
