"""Tiny Kolors folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.autoencoder import write_autoencoder
from tiny.folder import write_configs

WIDTH = 32  # of ChatGLM's states
SENTENCES = (
    "a red star", "a blue circle on the green background", "the small yellow square is large",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z , . ! ? 红 星",
)  # fmt: skip


def write_kolors(folder: Path, pipeline: str = "KolorsPipeline", **network: Any) -> Path:
    """A Kolors folder: 8x8 latents of 4 channels, two pixels a side for each.

    Args:
        network: over the network's config.
    """
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 24,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "norm_num_groups": 8,
        "encoder_hid_dim": WIDTH,
        "encoder_hid_dim_type": "text_proj",
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + WIDTH,
    }
    UNet2DConditionModel(**{**config, **network}).save_pretrained(folder / "unet")
    write_autoencoder(folder, channels=4)
    write_chatglm(folder)
    write_configs(
        folder,
        pipeline,
        {
            "_class_name": "EulerDiscreteScheduler",
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.014,
            "num_train_timesteps": 1100,
            "steps_offset": 1,
            "timestep_spacing": "leading",
        },
        {
            "text_encoder": ["kolors", "ChatGLMModel"],
            "tokenizer": ["kolors", "ChatGLMTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "image_encoder": [None, None],
            "feature_extractor": [None, None],
            "force_zeros_for_empty_prompt": False,
        },
    )
    return folder


def write_chatglm(folder: Path) -> None:
    """ChatGLM and its tokenizer, of a vocabulary that SentencePiece learns of some sentences."""
    import sentencepiece
    import torch
    from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig

    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_prefix=str(tokenizer / "tokenizer"),
        vocab_size=80,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    ChatGLMTokenizer(str(tokenizer / "tokenizer.model")).save_pretrained(tokenizer)
    (tokenizer / "tokenizer.vocab").unlink()
    config = ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=120,
        hidden_size=WIDTH,
        ffn_hidden_size=40,
        kv_channels=8,
        num_attention_heads=4,
        seq_length=300,
        multi_query_attention=True,
        multi_query_group_num=2,
        add_qkv_bias=True,
        original_rope=True,
    )
    encoder = ChatGLMModel(config, empty_init=False)
    for name, weight in encoder.named_parameters():  # of which some are left as memory was
        if "layernorm" in name:
            torch.nn.init.ones_(weight)
        else:
            torch.nn.init.normal_(weight, std=0.1)
    encoder.save_pretrained(folder / "text_encoder")
