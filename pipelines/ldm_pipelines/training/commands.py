"""The commands ``ldm train autoencoder``, ``denoiser`` and ``transformer``; cheap to import."""

from __future__ import annotations

from pathlib import Path


def train_autoencoder(
    *,
    data: str = "shapes",
    out: Path,
    resolution: int = 64,
    steps: int = 5000,
    crop_steps: int = 2500,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    warmup: int = 100,
    kl_weight: float = 5e-3,
    latent_channels: int = 4,
    mixed_precision: str = "bf16",
    seed: int = 0,
    resume: bool = True,
    checkpoint_seconds: float = 120.0,
) -> None:
    """Train the autoencoder of a latent diffusion model; writes ``vae`` into the output folder.

    Runs on one CPU process, on several under torchrun, and on GPUs.

    Args:
        data: "shapes" for the drawn world, "digits" for handwritten ones, or a folder of images.
        out: Output folder; holds the checkpoint too.
        resolution: Side of the training pictures in pixels.
        steps: Number of updates.
        crop_steps: Number of first updates that see 32 pixel crops instead of whole pictures.
        batch_size: Pictures per update and process.
        learning_rate: Peak learning rate.
        warmup: Number of updates over which the learning rate rises.
        kl_weight: Weight of the KL divergence.
        latent_channels: Channels of the latents.
        mixed_precision: "bf16" or "no".
        seed: Seed of weights, data and noise.
        resume: Continue from the checkpoint in the output folder.
        checkpoint_seconds: Time between checkpoints.
    Raises:
        ValueError: Unusable data, or a checkpoint of a run with other settings.
    """
    settings = dict(locals())
    from ldm_pipelines.training import autoencoder

    autoencoder.train_autoencoder(**settings)


def train_denoiser(
    *,
    data: str = "shapes",
    autoencoder: Path,
    out: Path,
    resolution: int = 64,
    steps: int = 11000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    warmup: int = 200,
    max_tokens: int = 20,
    pool_size: int = 4096,
    pool_steps: int = 1000,
    mixed_precision: str = "bf16",
    seed: int = 0,
    resume: bool = True,
    checkpoint_seconds: float = 120.0,
) -> None:
    """Train text encoder and UNet; writes a Stable Diffusion folder, ``model``, into the output.

    Runs on one CPU process, on several under torchrun, and on GPUs.

    Args:
        data: "shapes" for the drawn world, or a folder of images with metadata.jsonl.
        autoencoder: Output folder of the autoencoder's training.
        out: Output folder; holds the checkpoint too.
        resolution: Side of the training pictures in pixels.
        steps: Number of updates.
        batch_size: Latents per update and process.
        learning_rate: Peak learning rate.
        warmup: Number of updates over which the learning rate rises.
        max_tokens: Tokens of a caption, begin and end included.
        pool_size: Encoded pictures that a process keeps.
        pool_steps: Number of updates after which the encoded pictures are drawn anew.
        mixed_precision: "bf16" or "no".
        seed: Seed of weights, data and noise.
        resume: Continue from the checkpoint in the output folder.
        checkpoint_seconds: Time between checkpoints.
    Raises:
        ValueError: Unusable data, or a checkpoint of a run with other settings.
    """
    settings = dict(locals())
    from ldm_pipelines.training import denoiser

    denoiser.train_denoiser(**settings)


def train_transformer(
    *,
    data: str = "digits",
    autoencoder: Path,
    out: Path,
    resolution: int = 32,
    width: int = 96,
    layers: int = 6,
    steps: int = 12000,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    warmup: int = 200,
    ema_decay: float = 0.999,
    pool_size: int = 4096,
    pool_steps: int = 500,
    mixed_precision: str = "no",
    seed: int = 0,
    resume: bool = True,
    checkpoint_seconds: float = 120.0,
) -> None:
    """Train a diffusion transformer on classes; writes a DiT folder, ``model``, into the output.

    Runs on one CPU process, on several under torchrun, and on GPUs.

    Args:
        data: "digits" for the handwritten ones, or a folder of images with metadata.jsonl, whose
            texts are the classes.
        autoencoder: Output folder of the autoencoder's training.
        out: Output folder; holds the checkpoint too.
        resolution: Side of the training pictures in pixels.
        width: Width of the transformer's states.
        layers: Number of transformer blocks.
        steps: Number of updates.
        batch_size: Latents per update and process.
        learning_rate: Peak learning rate.
        warmup: Number of updates over which the learning rate rises.
        ema_decay: Of the average of the weights that is written.
        pool_size: Encoded pictures that a process keeps.
        pool_steps: Number of updates after which the encoded pictures are drawn anew.
        mixed_precision: "bf16" or "no".
        seed: Seed of weights, data and noise.
        resume: Continue from the checkpoint in the output folder.
        checkpoint_seconds: Time between checkpoints.
    Raises:
        ValueError: Unusable data, or a checkpoint of a run with other settings.
    """
    settings = dict(locals())
    from ldm_pipelines.training import transformer

    transformer.train_transformer(**settings)
