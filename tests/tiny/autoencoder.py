"""A tiny KL-autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_autoencoder(folder: Path, channels: int, **config: Any) -> None:
    """An AutoencoderKL in a model folder: one latent pixel for 2x2 of the picture.

    Args:
        channels: of the latent.
        config: over the autoencoder's config.
    """
    from diffusers import AutoencoderKL

    plain: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "latent_channels": channels,
        "norm_num_groups": 4,
        "sample_size": 16,
    }
    AutoencoderKL(**{**plain, **config}).save_pretrained(folder / "vae")


def deep_autoencoder(halvings: int) -> dict[str, Any]:
    """The config of one that halves both sides so many times, with few channels for large
    pictures."""
    return {
        "block_out_channels": (4,) * (halvings + 1),
        "down_block_types": ("DownEncoderBlock2D",) * (halvings + 1),
        "up_block_types": ("UpDecoderBlock2D",) * (halvings + 1),
        "layers_per_block": 1,
        "norm_num_groups": 2,
    }
