"""Tiny AnimateDiff folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.autoencoder import write_autoencoder
from tiny.folder import write_configs
from tiny.text_encoders import write_clip

SIDES = {"block_out_channels": (16, 32)}


def write_animatediff(
    folder: Path, scheduler: dict[str, Any] | None = None, **network: Any
) -> Path:
    """An AnimateDiff folder: 8x8 latents of 4 channels, two pixels a side for each.

    Args:
        scheduler: over the scheduler's config.
        network: over the network's config.
    """
    import torch
    from diffusers import MotionAdapter, UNetMotionModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        **SIDES,
        "sample_size": 8,
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlockMotion", "DownBlockMotion"),
        "up_block_types": ("UpBlockMotion", "CrossAttnUpBlockMotion"),
        "cross_attention_dim": 32,
        "num_attention_heads": 2,
        "norm_num_groups": 8,
        "motion_max_seq_length": 16,
        "motion_num_attention_heads": 2,
    }
    UNetMotionModel(**{**config, **network}).save_pretrained(folder / "unet")
    MotionAdapter(
        **SIDES,
        motion_layers_per_block=1,
        motion_norm_num_groups=8,
        motion_num_attention_heads=2,
        motion_max_seq_length=16,
    ).save_pretrained(folder / "motion_adapter")
    write_autoencoder(folder, channels=4)
    clip = write_clip(folder, "text_encoder", "tokenizer", hidden=32)
    write_configs(
        folder,
        "AnimateDiffPipeline",
        {
            "_class_name": "DDIMScheduler",
            "beta_schedule": "linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "num_train_timesteps": 1000,
            "clip_sample": False,
            "steps_offset": 1,
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", clip],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNetMotionModel"],
            "motion_adapter": ["diffusers", "MotionAdapter"],
            "vae": ["diffusers", "AutoencoderKL"],
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
        },
    )
    return folder


def write_motion_adapter(folder: Path, seed: int = 3, **config: Any) -> Path:
    """A motion adapter beside a tiny Stable Diffusion folder."""
    import torch
    from diffusers import MotionAdapter

    torch.manual_seed(seed)
    own = {
        "block_out_channels": (16, 32),
        "motion_layers_per_block": 1,
        "motion_norm_num_groups": 8,
        "motion_num_attention_heads": 2,
        "motion_max_seq_length": 8,
    }
    adapter = MotionAdapter(**{**own, **config})
    for name, weights in adapter.named_parameters():  # the last layers of an untrained one are 0
        if "proj_out" in name:
            torch.nn.init.normal_(weights, std=0.2)
    adapter.save_pretrained(folder)
    return folder
