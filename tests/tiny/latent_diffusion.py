"""A tiny LDM folder without text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.ddpm import write_unet
from tiny.folder import write_configs
from tiny.kept import kept


@kept
def write_latent_diffusion(
    folder: Path, scheduler: dict[str, Any] | None = None, **unet: Any
) -> Path:
    """An LDMPipeline folder: 8x8 latents of 3 channels, 16x16 pictures."""
    write_unet(folder / "unet", **unet)
    write_vq_model(folder / "vqvae", levels=2)
    config = {
        "_class_name": "DDIMScheduler",
        "beta_schedule": "scaled_linear",
        "beta_start": 0.0015,
        "beta_end": 0.0195,
        "num_train_timesteps": 1000,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        **(scheduler or {}),
    }
    parts = {"unet": ["diffusers", "UNet2DModel"], "vqvae": ["diffusers", "VQModel"]}
    write_configs(folder, "LDMPipeline", config, parts)
    return folder


def write_vq_model(folder: Path, levels: int) -> None:
    """A VQModel of 3 channels that halves each side levels - 1 times, with 32 codes."""
    import torch
    from diffusers import VQModel

    torch.manual_seed(1)
    vqvae = VQModel(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=3,
        num_vq_embeddings=32,
        norm_num_groups=4,
        scaling_factor=0.4,
    )
    torch.nn.init.normal_(vqvae.quantize.embedding.weight)
    vqvae.save_pretrained(folder)
