"""Tiny PixArt folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.autoencoder import write_autoencoder
from tiny.folder import write_configs
from tiny.kept import kept
from tiny.text_encoders import write_t5


@kept
def write_pixart(
    folder: Path,
    pipeline: str = "PixArtAlphaPipeline",
    sample_size: int = 8,
    scheduler: dict[str, Any] | None = None,
    **network: Any,
) -> Path:
    """A PixArt folder: latents of 4 channels, two pixels for each; 8x8 of them.

    Args:
        sample_size: of alpha 128 makes a network that takes the size as a condition, and whose
            own pictures are 256x256.
        network: over the network's config.
    """
    import torch
    from diffusers import PixArtTransformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "num_attention_heads": 3,
        "attention_head_dim": 8,
        "in_channels": 4,
        "out_channels": 8,
        "num_layers": 2,
        "cross_attention_dim": 24,
        "sample_size": sample_size,
        "patch_size": 2,
        "caption_channels": 32,
        "use_additional_conditions": sample_size == 128 and pipeline == "PixArtAlphaPipeline",
    }
    PixArtTransformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_autoencoder(folder, channels=4)
    write_t5(folder, "text_encoder", "tokenizer", hidden=32)
    write_configs(
        folder,
        pipeline,
        {
            "_class_name": "DPMSolverMultistepScheduler",
            "beta_schedule": "linear",
            "beta_start": 0.0001,
            "beta_end": 0.02,
            "num_train_timesteps": 1000,
            "solver_order": 2,
            "timestep_spacing": "linspace",
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", "T5EncoderModel"],
            "tokenizer": ["transformers", "T5Tokenizer"],
            "transformer": ["diffusers", "PixArtTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    return folder
