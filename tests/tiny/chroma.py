"""Tiny Chroma folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.autoencoder import write_autoencoder
from tiny.folder import write_configs
from tiny.text_encoders import write_t5


def write_chroma(folder: Path, pipeline: str = "ChromaPipeline", **network: Any) -> Path:
    """A Chroma folder: latents of 4 channels, two pixels for each; its own pictures are 256x256.

    Args:
        pipeline: the class that it was saved from.
        network: over the network's config.
    """
    import torch
    from diffusers import ChromaTransformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "in_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "axes_dims_rope": (4, 4, 8),
        "approximator_num_channels": 64,
        "approximator_hidden_dim": 16,
        "approximator_layers": 1,
    }
    ChromaTransformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_autoencoder(
        folder,
        channels=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )
    write_t5(folder, "text_encoder", "tokenizer", hidden=32)
    write_configs(
        folder,
        pipeline,
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 3.0,
            "use_dynamic_shifting": True,
            "base_image_seq_len": 256,
            "base_shift": 0.5,
            "max_image_seq_len": 4096,
            "max_shift": 1.15,
        },
        {
            "text_encoder": ["transformers", "T5EncoderModel"],
            "tokenizer": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "ChromaTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
        },
    )
    return folder
