"""Tiny Krea 2 folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.qwen import write_qwen_3_vl, write_qwen_autoencoder

SCHEDULER: dict[str, Any] = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 6400,
    "max_shift": 1.15,
    "use_dynamic_shifting": True,
}
LAYERS = [1, 2, 3]


def write_krea_2(folder: Path, turbo: bool = False, hidden: int = 32, **network: Any) -> Path:
    """A Krea 2 folder: latents of 4 channels, two pixels for each; its own pictures are 256x256.

    Args:
        turbo: the distilled model.
        hidden: width of the text encoder.
        network: over the network's config.
    """
    import torch
    from diffusers import Krea2Transformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "in_channels": 16,
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 37,
        "timestep_embed_dim": 16,
        "text_hidden_dim": 32,
        "num_text_layers": len(LAYERS),
        "text_num_attention_heads": 2,
        "text_num_key_value_heads": 2,
        "text_intermediate_size": 37,
        "num_layerwise_text_blocks": 1,
        "num_refiner_text_blocks": 1,
        "axes_dims_rope": (4, 4, 8),
    }
    Krea2Transformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_qwen_autoencoder(folder)
    write_qwen_3_vl(folder, hidden, layers=3)
    write_configs(
        folder,
        "Krea2Pipeline",
        SCHEDULER,
        {
            "text_encoder": ["transformers", "Qwen3VLModel"],
            "tokenizer": ["transformers", "Qwen2Tokenizer"],
            "transformer": ["diffusers", "Krea2Transformer2DModel"],
            "vae": ["diffusers", "AutoencoderKLQwenImage"],
            "text_encoder_select_layers": LAYERS,
            "is_distilled": turbo,
            "patch_size": 2,
        },
    )
    return folder
