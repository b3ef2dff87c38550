"""Tiny Sana folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldm_plugins.families.sana import INSTRUCTION
from tiny.folder import write_configs
from tiny.language_models import write_gemma2


def write_sana(folder: Path, scheduler: dict[str, Any] | None = None, **network: Any) -> Path:
    """A Sana folder: 8x8 latents of 4 channels, 32x32 pictures.

    Args:
        network: over the network's config.
    """
    import torch
    from diffusers import AutoencoderDC, SanaTransformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": 8,
        "patch_size": 1,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 1,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_cross_attention_heads": 2,
        "cross_attention_head_dim": 8,
        "cross_attention_dim": 16,
        "caption_channels": 32,
    }
    SanaTransformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    blocks = ("ResBlock", "ResBlock", "EfficientViTBlock")
    AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=blocks,
        decoder_block_types=blocks,
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        encoder_layers_per_block=(1, 1, 1),
        decoder_layers_per_block=(1, 1, 1),
        encoder_qkv_multiscales=((), (), (5,)),
        decoder_qkv_multiscales=((), (), (5,)),
        scaling_factor=0.41407,
    ).save_pretrained(folder / "vae")
    write_gemma2(folder, hidden=32, words=INSTRUCTION)
    write_configs(
        folder,
        "SanaPipeline",
        {
            "_class_name": "DPMSolverMultistepScheduler",
            "algorithm_type": "dpmsolver++",
            "flow_shift": 3.0,
            "num_train_timesteps": 1000,
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", "Gemma2Model"],
            "tokenizer": ["transformers", "GemmaTokenizerFast"],
            "transformer": ["diffusers", "SanaTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderDC"],
        },
    )
    return folder
