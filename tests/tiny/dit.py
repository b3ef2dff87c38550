"""A tiny DiT folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.kept import kept

NAMES = {0: "tench, Tinca tinca", 1: "goldfish, Carassius auratus", 2: "great white shark, crane"}
NAMES |= {3: "Cardigan, Cardigan Welsh corgi", 4: "cardigan", 5: "crane", 999: "toilet tissue"}


@kept
def write_dit(
    folder: Path,
    scheduler: dict[str, Any] | None = None,
    transformer_class: str = "DiTTransformer2DModel",
    out_channels: int = 8,
) -> Path:
    """A DiTPipeline folder: 8x8 latents of 4 channels, 16x16 pictures, 1000 classes."""
    import torch
    from diffusers import AutoencoderKL, DiTTransformer2DModel

    torch.manual_seed(0)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=out_channels,
        num_layers=2,
        sample_size=8,
        norm_num_groups=4,
        num_embeds_ada_norm=1000,  # DiTPipeline takes number 1000 for no class
    )
    transformer.save_pretrained(folder / "transformer")
    AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    ).save_pretrained(folder / "vae")
    config = {
        "_class_name": "DDIMScheduler",
        "beta_schedule": "linear",
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "num_train_timesteps": 1000,
        "clip_sample": False,
        **(scheduler or {}),
    }
    parts = {
        "transformer": ["diffusers", transformer_class],
        "vae": ["diffusers", "AutoencoderKL"],
        "id2label": {str(number): names for number, names in NAMES.items()},
    }
    write_configs(folder, "DiTPipeline", config, parts)
    return folder
