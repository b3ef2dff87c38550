"""Tiny AudioLDM 2 folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.text_encoders import write_t5

CLAP, T5, SPOKEN = 12, 32, 16
BINS = 8


def write_audioldm_2(folder: Path, **network: Any) -> Path:
    """An AudioLDM 2 folder: latents of 4 channels, 4 places of pitch and a place in time for 8
    samples.

    Args:
        network: over the network's config.
    """
    import torch
    from diffusers import AutoencoderKL
    from diffusers.pipelines.audioldm2 import (
        AudioLDM2ProjectionModel,
        AudioLDM2UNet2DConditionModel,
    )
    from transformers import (
        ClapConfig,
        ClapModel,
        GPT2Config,
        GPT2LMHeadModel,
        SpeechT5HifiGan,
        SpeechT5HifiGanConfig,
    )

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "sample_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": ((None, SPOKEN, T5), (None, SPOKEN, T5)),
        "attention_head_dim": 4,
    }
    AudioLDM2UNet2DConditionModel(**{**config, **network}).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=[8, 16],
        in_channels=1,
        out_channels=1,
        norm_num_groups=8,
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        scaling_factor=0.4,
    ).save_pretrained(folder / "vae")
    text = {
        "vocab_size": 300,
        "hidden_size": 8,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 40,
        "projection_dim": CLAP,
        "initializer_range": 0.5,
    }
    sound = {
        "spec_size": 8,
        "window_size": 4,
        "num_mel_bins": 8,
        "intermediate_size": 24,
        "depths": [1, 1],
        "num_attention_heads": [1, 1],
        "num_hidden_layers": 2,
        "hidden_size": 192,
        "projection_dim": CLAP,
        "patch_size": 2,
        "patch_stride": 2,
        "patch_embed_input_channels": 4,
    }
    clap = ClapConfig(text_config=text, audio_config=sound, projection_dim=CLAP)
    ClapModel(clap).save_pretrained(folder / "text_encoder")
    write_roberta_tokenizer(folder / "tokenizer")
    write_t5(folder, "text_encoder_2", "tokenizer_2", T5)
    file = folder / "tokenizer_2" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": 40}))
    AudioLDM2ProjectionModel(CLAP, T5, SPOKEN).save_pretrained(folder / "projection_model")
    spoken = GPT2Config(
        n_embd=SPOKEN,
        n_head=2,
        n_layer=2,
        vocab_size=50,
        n_positions=99,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=1,
    )
    GPT2LMHeadModel(spoken).save_pretrained(folder / "language_model")
    vocoder = SpeechT5HifiGanConfig(
        model_in_dim=BINS,
        sampling_rate=800,
        upsample_initial_channel=16,
        upsample_rates=[2, 2],
        upsample_kernel_sizes=[5, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3, 5]],
        normalize_before=False,
        initializer_range=0.1,
    )
    SpeechT5HifiGan(vocoder).save_pretrained(folder / "vocoder")
    write_configs(
        folder,
        "AudioLDM2Pipeline",
        {
            "_class_name": "DDIMScheduler",
            "beta_start": 0.0015,
            "beta_end": 0.0195,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "set_alpha_to_one": False,
            "steps_offset": 1,
        },
        {
            "text_encoder": ["transformers", "ClapModel"],
            "text_encoder_2": ["transformers", "T5EncoderModel"],
            "projection_model": ["audioldm2", "AudioLDM2ProjectionModel"],
            "language_model": ["transformers", "GPT2LMHeadModel"],
            "tokenizer": ["transformers", "RobertaTokenizer"],
            "tokenizer_2": ["transformers", "T5Tokenizer"],
            "unet": ["audioldm2", "AudioLDM2UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "vocoder": ["transformers", "SpeechT5HifiGan"],
        },
    )
    return folder


def write_roberta_tokenizer(folder: Path, window: int = 36) -> None:
    """A RobertaTokenizer whose vocabulary is bytes."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import RobertaTokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {token: i for i, token in enumerate([*special, *sorted(ByteLevel.alphabet())])}
    tokenizer = RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=window)
    tokenizer.save_pretrained(folder)
