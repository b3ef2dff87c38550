"""Tiny Stable Audio folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tiny.folder import write_configs
from tiny.text_encoders import write_t5

WIDTH = 16  # of the text states
TOKENS = 12
RATE = 800
PLACES = 24
HOP = 8
NOTHING: Mapping[str, Any] = MappingProxyType({})


def write_stable_audio(
    folder: Path, scheduler: Mapping[str, Any] = NOTHING, conditioning: int = 24, **network: Any
) -> Path:
    """A Stable Audio folder: latents of 4 channels, a place for 8 samples of two channels.

    Args:
        scheduler: over the scheduler's config.
        conditioning: width of what the network reads.
        network: over the network's config.
    """
    import torch
    from diffusers import StableAudioDiTModel
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": PLACES,
        "in_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "num_key_value_attention_heads": 1,
        "out_channels": 4,
        "cross_attention_dim": 16,
        "time_proj_dim": 8,
        "global_states_input_dim": 2 * conditioning,
        "cross_attention_input_dim": conditioning,
    }
    StableAudioDiTModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_oobleck(folder / "vae")
    write_t5(folder, "text_encoder", "tokenizer", WIDTH)
    file = folder / "tokenizer" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": TOKENS}))
    StableAudioProjectionModel(WIDTH, conditioning, 0, 512).save_pretrained(
        folder / "projection_model"
    )
    write_configs(
        folder,
        "StableAudioPipeline",
        {"_class_name": "CosineDPMSolverMultistepScheduler", **scheduler},
        {
            "text_encoder": ["transformers", "T5EncoderModel"],
            "tokenizer": ["transformers", "T5Tokenizer"],
            "projection_model": ["stable_audio", "StableAudioProjectionModel"],
            "transformer": ["diffusers", "StableAudioDiTModel"],
            "vae": ["diffusers", "AutoencoderOobleck"],
        },
    )
    return folder


def write_oobleck(folder: Path, rate: int = RATE, channels: int = 4) -> None:
    """An autoencoder of sound of two channels, a place for `HOP` samples."""
    from diffusers import AutoencoderOobleck

    AutoencoderOobleck(
        encoder_hidden_size=2 * channels,
        downsampling_ratios=[2, 4],
        channel_multiples=[1, 2],
        decoder_channels=8,
        decoder_input_channels=channels,
        audio_channels=2,
        sampling_rate=rate,
    ).save_pretrained(folder)
