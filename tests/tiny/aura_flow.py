"""Tiny AuraFlow folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.autoencoder import write_autoencoder
from tiny.folder import write_configs
from tiny.language_models import write_umt5


def write_aura_flow(folder: Path, scheduler: dict[str, Any] | None = None, **network: Any) -> Path:
    """An AuraFlow folder: latents of 4 channels, two pixels for each, 32x32 of them at most.

    Args:
        network: over the network's config.
    """
    import torch
    from diffusers import AuraFlowTransformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": 8,
        "num_mmdit_layers": 1,
        "num_single_dit_layers": 1,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "joint_attention_dim": 32,
        "caption_projection_dim": 32,
        "pos_embed_max_size": 256,
    }
    transformer = AuraFlowTransformer2DModel(**{**config, **network})
    for weight in transformer.joint_transformer_blocks.parameters():
        weight.data *= 3  # so that the text is heard
    transformer.save_pretrained(folder / "transformer")
    write_autoencoder(folder, channels=4)
    write_umt5(folder, hidden=32)
    write_configs(
        folder,
        "AuraFlowPipeline",
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 1.73,
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", "UMT5EncoderModel"],
            "tokenizer": ["transformers", "LlamaTokenizerFast"],
            "transformer": ["diffusers", "AuraFlowTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    return folder
