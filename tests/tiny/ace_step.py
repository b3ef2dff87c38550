"""Tiny ACE-Step folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.stable_audio import write_oobleck
from tiny.tokenizers import write_qwen_tokenizer

CHANNELS, WIDTH, TEXT = 4, 16, 24
RATE = 80  # of samples; 8 of them are a place


def write_ace_step(folder: Path, turbo: bool = False, codes: bool = False, **network: Any) -> Path:
    """An ACE-Step folder: latents of 4 channels, 10 places a second of two channels.

    Args:
        codes: with the networks that make codes of a sound, of 3 places each.
        network: over the network's config.
    """
    import torch
    from diffusers import AceStepTransformer1DModel
    from diffusers.pipelines.ace_step import (
        AceStepAudioTokenDetokenizer,
        AceStepAudioTokenizer,
        AceStepConditionEncoder,
    )
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(0)
    sides: dict[str, Any] = {
        "hidden_size": WIDTH,
        "intermediate_size": 24,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "sliding_window": 4,
    }
    config: dict[str, Any] = {
        **sides,
        "num_hidden_layers": 2,
        "in_channels": 3 * CHANNELS,
        "audio_acoustic_hidden_dim": CHANNELS,
        "is_turbo": turbo,
    }
    AceStepTransformer1DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_oobleck(folder / "vae", RATE, CHANNELS)
    conditions = AceStepConditionEncoder(
        **sides,
        text_hidden_dim=TEXT,
        timbre_hidden_dim=CHANNELS,
        num_lyric_encoder_hidden_layers=2,
        num_timbre_encoder_hidden_layers=2,
    )
    conditions.silence_latent.copy_(torch.randn(conditions.silence_latent.shape))
    conditions.save_pretrained(folder / "condition_encoder")
    write_qwen_tokenizer(folder / "tokenizer")
    text = Qwen3Config(
        vocab_size=2000,
        hidden_size=TEXT,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        initializer_range=0.5,
    )
    Qwen3Model(text).save_pretrained(folder / "text_encoder")
    beside = {}
    if codes:
        own = {**sides, "audio_acoustic_hidden_dim": CHANNELS, "pool_window_size": 3}
        makes = AceStepAudioTokenizer(**own, fsq_dim=WIDTH, fsq_input_levels=[4, 3, 2])
        for name, module in (
            ("audio_tokenizer", makes),
            ("audio_token_detokenizer", AceStepAudioTokenDetokenizer(**own)),
        ):
            module.save_pretrained(folder / name)
            beside[name] = ["ace_step", type(module).__name__]
    write_configs(
        folder,
        "AceStepPipeline",
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1,
            "shift": 1.0,
            "use_dynamic_shifting": False,
        },
        {
            "text_encoder": ["transformers", "Qwen3Model"],
            "tokenizer": ["transformers", "Qwen2TokenizerFast"],
            "condition_encoder": ["ace_step", "AceStepConditionEncoder"],
            "transformer": ["diffusers", "AceStepTransformer1DModel"],
            "vae": ["diffusers", "AutoencoderOobleck"],
            **beside,
        },
    )
    return folder
