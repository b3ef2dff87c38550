"""Tiny language models that see pictures, and the autoencoder of Qwen-Image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.tokenizers import write_qwen_tokenizer

MARKS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
VOCABULARY = 1000
WIDE = 0.5
"""Deviation of the weights: with the usual 0.02 tokens are attended alike, wherever they are."""


def write_qwen_2_5_vl(folder: Path, hidden: int = 32) -> None:
    """A Qwen2_5_VLForConditionalGeneration and its tokenizer in a model folder."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    numbers = write_qwen_tokenizer(folder / "tokenizer")
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "bos_token_id": None,
            "eos_token_id": None,
            "hidden_size": hidden,
            "intermediate_size": 37,
            "initializer_range": WIDE,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [1, 1, 2],
                "rope_theta": 10000.0,
            },
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 37,
            "num_heads": 2,
            "out_hidden_size": hidden,
            "fullatt_block_indexes": [0],
        },
        **{key: numbers[mark] for key, mark in MARKS.items()},
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder / "text_encoder")


def write_qwen_3_vl(folder: Path, hidden: int = 32, layers: int = 3) -> None:
    """A Qwen3VLModel and its tokenizer in a model folder."""
    from transformers import Qwen3VLConfig, Qwen3VLModel

    numbers = write_qwen_tokenizer(folder / "tokenizer")
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": hidden,
            "intermediate_size": 37,
            "initializer_range": WIDE,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [2, 1, 1],
                "rope_theta": 10000.0,
            },
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 37,
            "num_heads": 2,
            "out_hidden_size": hidden,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        **{key: numbers[mark] for key, mark in MARKS.items()},
    )
    Qwen3VLModel(config).save_pretrained(folder / "text_encoder")


def write_qwen_autoencoder(folder: Path, **config: Any) -> None:
    """An AutoencoderKLQwenImage in a model folder: 4 channels, two pixels for each."""
    from diffusers import AutoencoderKLQwenImage

    plain: dict[str, Any] = {
        "base_dim": 8,
        "z_dim": 4,
        "dim_mult": [1, 2],
        "num_res_blocks": 1,
        "temperal_downsample": [False],
        "latents_mean": [-0.7, 0.1, 0.4, 1.5],
        "latents_std": [2.8, 1.4, 0.6, 1.1],
    }
    AutoencoderKLQwenImage(**{**plain, **config}).save_pretrained(folder / "vae")
