"""Tiny Lumina 2 folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldm_plugins.families.lumina_2 import INSTRUCTION
from tiny.autoencoder import write_autoencoder
from tiny.folder import write_configs
from tiny.language_models import write_gemma2

BY_EIGHT: dict[str, Any] = {
    "block_out_channels": (8, 8, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
"""Diffusers' pipeline counts on an autoencoder that shrinks by 8, whatever the folder says."""


def write_lumina_2(folder: Path, scheduler: dict[str, Any] | None = None, **network: Any) -> Path:
    """A Lumina 2 folder: 4x4 latents of 4 channels, 32x32 pictures.

    Args:
        network: over the network's config.
    """
    import torch
    from diffusers import Lumina2Transformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": 4,
        "in_channels": 4,
        "hidden_size": 32,
        "num_layers": 1,
        "num_refiner_layers": 1,
        "num_attention_heads": 2,
        "num_kv_heads": 1,
        "multiple_of": 16,
        "axes_dim_rope": (4, 4, 8),
        "axes_lens": (300, 64, 64),
        "cap_feat_dim": 32,
    }
    Lumina2Transformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_autoencoder(
        folder,
        channels=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        **BY_EIGHT,
    )
    write_gemma2(folder, hidden=32, words=INSTRUCTION)
    write_configs(
        folder,
        "Lumina2Pipeline",
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 6.0,
            "use_dynamic_shifting": False,
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", "Gemma2Model"],
            "tokenizer": ["transformers", "GemmaTokenizerFast"],
            "transformer": ["diffusers", "Lumina2Transformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    return folder
