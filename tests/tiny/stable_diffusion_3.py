"""Tiny Stable Diffusion 3 folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.autoencoder import write_autoencoder
from tiny.folder import write_configs
from tiny.kept import kept
from tiny.text_encoders import write_clip, write_t5


@kept
def write_stable_diffusion_3(
    folder: Path, t5: bool = True, scheduler: dict[str, Any] | None = None, **network: Any
) -> Path:
    """A Stable Diffusion 3 folder: 8x8 latents of 4 channels, 16x16 pictures.

    Args:
        network: over the network's config.
    """
    import torch
    from diffusers import SD3Transformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": 8,
        "patch_size": 2,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "caption_projection_dim": 32,
        "joint_attention_dim": 64,
        "pooled_projection_dim": 40,
        "pos_embed_max_size": 16,
    }
    SD3Transformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_autoencoder(
        folder,
        channels=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.5305,
        shift_factor=0.0609,
    )
    clip = write_clip(folder, "text_encoder", "tokenizer", hidden=32, projection=16)
    write_clip(folder, "text_encoder_2", "tokenizer_2", hidden=24, projection=24)
    if t5:
        write_t5(folder, "text_encoder_3", "tokenizer_3", hidden=64)
    write_configs(
        folder,
        "StableDiffusion3Pipeline",
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 3.0,
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", clip],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "text_encoder_2": ["transformers", clip],
            "tokenizer_2": ["transformers", "CLIPTokenizer"],
            "text_encoder_3": ["transformers", "T5EncoderModel"] if t5 else [None, None],
            "tokenizer_3": ["transformers", "T5TokenizerFast"] if t5 else [None, None],
            "transformer": ["diffusers", "SD3Transformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
        },
    )
    return folder
