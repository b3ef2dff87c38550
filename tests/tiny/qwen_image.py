"""Tiny Qwen-Image folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.qwen import write_qwen_2_5_vl, write_qwen_autoencoder

SCHEDULER: dict[str, Any] = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 8192,
    "max_shift": 0.9,
    "shift": 1.0,
    "shift_terminal": 0.02,
    "use_dynamic_shifting": True,
}
"""As in the real folder."""


def write_qwen_image(
    folder: Path,
    pipeline: str = "QwenImagePipeline",
    hidden: int = 32,
    autoencoder: dict[str, Any] | None = None,
    **network: Any,
) -> Path:
    """A Qwen-Image folder: latents of 4 channels, two pixels for each; its own pictures are
    256x256.

    Args:
        hidden: width of the text encoder.
        autoencoder: over the autoencoder's config.
        network: over the network's config.
    """
    import torch
    from diffusers import QwenImageTransformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "in_channels": 16,
        "out_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "axes_dims_rope": (4, 4, 8),
    }
    QwenImageTransformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_qwen_autoencoder(folder, **(autoencoder or {}))
    write_qwen_2_5_vl(folder, hidden)
    write_configs(
        folder,
        pipeline,
        SCHEDULER,
        {
            "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
            "tokenizer": ["transformers", "Qwen2Tokenizer"],
            "transformer": ["diffusers", "QwenImageTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKLQwenImage"],
        },
    )
    return folder


def write_qwen_image_edit(
    folder: Path, pipeline: str = "QwenImageEditPipeline", levels: int = 1, **network: Any
) -> Path:
    """A Qwen-Image-Edit folder, or one of Edit Plus.

    Args:
        levels: so many times the autoencoder halves the sides of a picture.
    """
    from transformers import Qwen2VLImageProcessorPil

    halvings: dict[str, Any] = {
        "base_dim": 4,
        "dim_mult": [1] * (levels + 1),
        "temperal_downsample": [False] * levels,
    }
    write_qwen_image(folder, pipeline, autoencoder=halvings, **network)
    Qwen2VLImageProcessorPil().save_pretrained(folder / "processor")
    index = json.loads((folder / "model_index.json").read_text())
    index["processor"] = ["transformers", "Qwen2VLProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
