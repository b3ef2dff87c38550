"""Tiny CogView 4 folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.autoencoder import write_autoencoder
from tiny.folder import write_configs
from tiny.language_models import write_glm


def write_cogview_4(folder: Path, scheduler: dict[str, Any] | None = None, **network: Any) -> Path:
    """A CogView 4 folder: 8x8 latents of 4 channels, 16x16 pictures.

    Args:
        network: over the network's config.
    """
    import torch
    from diffusers import CogView4Transformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "text_embed_dim": 32,
        "time_embed_dim": 16,
        "condition_dim": 4,
    }
    CogView4Transformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_autoencoder(
        folder, channels=4, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=1.0
    )
    write_glm(folder, hidden=32)
    write_configs(
        folder,
        "CogView4Pipeline",
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "base_image_seq_len": 256,
            "base_shift": 0.25,
            "max_shift": 0.75,
            "shift": 1.0,
            "use_dynamic_shifting": True,
            "time_shift_type": "linear",
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", "GlmModel"],
            "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
            "transformer": ["diffusers", "CogView4Transformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    return folder
