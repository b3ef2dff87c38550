"""Train the denoiser of a class-conditional latent diffusion model, a diffusion transformer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ldm_core.errors import LdmError
from ldm_pipelines.training.batches import latent_batches
from ldm_pipelines.training.data import Source, open_source, step_rng
from ldm_pipelines.training.folder import read_autoencoder, write_dit
from ldm_pipelines.training.loop import make_accelerator, train_and_write
from ldm_pipelines.training.losses import denoising_loss
from ldm_pipelines.training.settings import TransformerSettings
from ldm_pipelines.training.warm_start import check_start, take_weights

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


def train_transformer(settings: TransformerSettings) -> None:
    """See `ldm_pipelines.training.commands.train_transformer`."""
    settings.check_free()
    source = open_source(settings.data, resolution=settings.resolution, need_captions=True)
    classes = read_classes(source, settings)
    vae = read_autoencoder(settings.autoencoder)
    accelerator = make_accelerator(settings.mixed_precision)
    transformer = build_transformer(
        vae.config.latent_channels,
        settings.resolution // 8,
        settings.width,
        settings.layers,
        settings.seed,
    )

    if settings.from_model is not None:
        take_weights(transformer, settings.from_model, "transformer")
        check_start(settings.from_model, settings.autoencoder)

    def number(captions: list[str]) -> Tensor:
        return torch.tensor([[classes.index(caption)] for caption in captions])

    def write() -> None:
        write_dit(settings.out / settings.result, settings.autoencoder, transformer, classes)

    null = torch.tensor([NULL_CLASS])
    train_and_write(
        settings,
        accelerator,
        ClassDenoisingLoss(transformer),
        latent_batches(settings, accelerator, source, vae, number, null),
        write,
        ema_decay=settings.ema_decay,
    )


def read_classes(source: Source, settings: TransformerSettings) -> list[str]:
    """The different captions of a source, in alphabetical order.

    Raises:
        LdmError: too many, or captions that are made of the source's texts.
    """
    classes = sorted(set(source.texts()))
    if len(classes) > NULL_CLASS:
        raise LdmError(f"at most {NULL_CLASS} classes, not {len(classes)}")
    _, captions = source.draw(step_rng(settings.seed, 0, 0), 16)
    if not set(captions) <= set(classes):
        raise LdmError(
            f"the captions of {settings.data} are no classes; give digits or a folder",
            "`ldm train denoiser` learns from captions",
        )
    return classes
