"""Tiny Z-Image folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.autoencoder import write_autoencoder
from tiny.folder import write_configs
from tiny.language_models import write_qwen3


def write_z_image(folder: Path, scheduler: dict[str, Any] | None = None, **network: Any) -> Path:
    """A Z-Image folder: latents of 4 channels, two pixels for each; its own pictures are 256x256.

    Args:
        network: over the network's config.
    """
    import torch
    from diffusers import ZImageTransformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "in_channels": 4,
        "dim": 32,
        "n_layers": 1,
        "n_refiner_layers": 1,
        "n_heads": 2,
        "n_kv_heads": 2,
        "cap_feat_dim": 32,
        "axes_dims": [4, 4, 8],
        "axes_lens": [1024, 64, 64],
    }
    transformer = ZImageTransformer2DModel(**{**config, **network})
    for token in (transformer.x_pad_token, transformer.cap_pad_token):
        torch.nn.init.normal_(token)  # real ones are trained, and not zero
    transformer.save_pretrained(folder / "transformer")
    write_autoencoder(
        folder,
        channels=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )
    write_qwen3(folder, hidden=32)
    write_configs(
        folder,
        "ZImagePipeline",
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 3.0,
            "use_dynamic_shifting": False,
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", "Qwen3Model"],
            "tokenizer": ["transformers", "Qwen2Tokenizer"],
            "transformer": ["diffusers", "ZImageTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    return folder
