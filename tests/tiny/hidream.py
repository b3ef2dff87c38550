"""Tiny HiDream folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.autoencoder import write_autoencoder
from tiny.folder import write_configs
from tiny.language_models import write_llama
from tiny.text_encoders import write_clip, write_t5


def write_hidream(folder: Path, scheduler: dict[str, Any] | None = None, **network: Any) -> Path:
    """A HiDream folder: latents of 4 channels, two pixels for each, 16x16 of them at most.

    Args:
        network: over the network's config.
    """
    import torch
    from diffusers import HiDreamImageTransformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "patch_size": 2,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "caption_channels": [32, 16],
        "text_emb_dim": 40,
        "axes_dims_rope": (4, 2, 2),
        "max_resolution": (16, 16),
        "llama_layers": (0, 1),
    }
    HiDreamImageTransformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_autoencoder(
        folder,
        channels=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )
    longer = {"max_position_embeddings": 248}
    clip = write_clip(folder, "text_encoder", "tokenizer", 32, projection=16, **longer)
    write_clip(folder, "text_encoder_2", "tokenizer_2", 24, projection=24, **longer)
    write_t5(folder, "text_encoder_3", "tokenizer_3", hidden=32)
    write_llama(folder, "text_encoder_4", "tokenizer_4", hidden=16)
    write_configs(
        folder,
        "HiDreamImagePipeline",
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
            "text_encoder_3": ["transformers", "T5EncoderModel"],
            "tokenizer_3": ["transformers", "T5Tokenizer"],
            "text_encoder_4": ["transformers", "LlamaForCausalLM"],
            "tokenizer_4": ["transformers", "PreTrainedTokenizerFast"],
            "transformer": ["diffusers", "HiDreamImageTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    return folder
