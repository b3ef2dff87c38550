"""Tiny Flux folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.autoencoder import write_autoencoder
from tiny.folder import write_configs
from tiny.text_encoders import write_clip, write_t5


def write_flux(
    folder: Path, guided: bool = True, scheduler: dict[str, Any] | None = None, **network: Any
) -> Path:
    """A Flux folder: latents of 4 channels, two pixels for each; its own pictures are 256x256.

    Args:
        guided: the network takes its guidance as a number (dev), or takes none (schnell).
        network: over the network's config.
    """
    import torch
    from diffusers import FluxTransformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "in_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 24,
        "axes_dims_rope": (4, 4, 8),
        "guidance_embeds": guided,
    }
    FluxTransformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_autoencoder(
        folder,
        channels=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )
    clip = write_clip(folder, "text_encoder", "tokenizer", hidden=24)
    write_t5(folder, "text_encoder_2", "tokenizer_2", hidden=32)
    own = {"shift": 3.0, "use_dynamic_shifting": True} if guided else {"shift": 1.0}
    write_configs(
        folder,
        "FluxPipeline",
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "base_image_seq_len": 256,
            "base_shift": 0.5,
            "max_image_seq_len": 4096,
            "max_shift": 1.15,
            **own,
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", clip],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "text_encoder_2": ["transformers", "T5EncoderModel"],
            "tokenizer_2": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "FluxTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
        },
    )
    return folder
