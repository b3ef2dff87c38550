"""Tiny HunyuanVideo folders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.tokenizers import WORDS, write_clip_tokenizer

CLIP_WINDOW = 77  # which Diffusers' pipeline fills, whatever the folder says


def write_hunyuan_video(
    folder: Path, guided: bool = True, scheduler: dict[str, Any] | None = None, **network: Any
) -> Path:
    """A HunyuanVideo folder: latents of 4 channels, 4 frames of 8x8 pixels for each.

    Args:
        guided: the network takes its guidance as a number.
        scheduler: over the scheduler's config.
        network: over the network's config.
    """
    import torch
    from diffusers import AutoencoderKLHunyuanVideo, HunyuanVideoTransformer3DModel
    from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 10,
        "num_layers": 1,
        "num_single_layers": 1,
        "num_refiner_layers": 1,
        "patch_size": 2,
        "patch_size_t": 1,
        "guidance_embeds": guided,
        "text_embed_dim": 16,
        "pooled_projection_dim": 8,
        "rope_axes_dim": (2, 4, 4),
    }
    HunyuanVideoTransformer3DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    AutoencoderKLHunyuanVideo(
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    ).save_pretrained(folder / "vae")
    llama = LlamaConfig(
        hidden_size=16,
        intermediate_size=37,
        num_hidden_layers=3,
        num_attention_heads=2,
        vocab_size=write_words(folder / "tokenizer"),
        pad_token_id=1,
    )
    LlamaModel(llama).save_pretrained(folder / "text_encoder")
    clip = CLIPTextConfig(
        vocab_size=1000,
        hidden_size=8,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CLIP_WINDOW,
        projection_dim=8,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    CLIPTextModel(clip).save_pretrained(folder / "text_encoder_2")
    write_clip_tokenizer(folder / "tokenizer_2", window=CLIP_WINDOW)
    write_configs(
        folder,
        "HunyuanVideoPipeline",
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 7.0,
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", "LlamaModel"],
            "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
            "text_encoder_2": ["transformers", "CLIPTextModel"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"],
            "transformer": ["diffusers", "HunyuanVideoTransformer3DModel"],
            "vae": ["diffusers", "AutoencoderKLHunyuanVideo"],
        },
    )
    return folder


def write_words(folder: Path) -> int:
    """A tokenizer whose vocabulary is words and letters, of which the template that the family sets
    before a prompt has about as many as of the real one's tokens; how many there are."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    from ldm_plugins.families.hunyuan_video import BEFORE

    piece = r"<\|\w+\|>|\w+|[^\w\s]|\s"
    names = ["<unk>", "<pad>", *WORDS, *re.findall(piece, BEFORE), "<|eot_id|>"]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split(Regex(r"<\|\w+\|>|\w+|[^\w\s]"), behavior="isolated")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", model_max_length=1000
    ).save_pretrained(folder)
    return len(vocabulary)
