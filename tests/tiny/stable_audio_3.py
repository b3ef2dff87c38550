"""Tiny Stable Audio 3 folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tiny.folder import write_configs
from tiny.language_models import write_gemma_tokenizer

WIDTH = 16  # of the text states
RATE = 800
NOTHING: Mapping[str, Any] = MappingProxyType({})


def write_stable_audio_3(
    folder: Path, scheduler: Mapping[str, Any] = NOTHING, **network: Any
) -> Path:
    """A Stable Audio 3 folder, distilled: latents of 4 channels, a place for 16 samples of two
    channels.

    Args:
        scheduler: over the scheduler's config.
        network: over the network's config.
    """
    import torch
    from diffusers import AutoencoderSAME, StableAudio3DiTModel
    from diffusers.pipelines.stable_audio_3 import StableAudio3DurationEmbedder
    from transformers import T5GemmaConfig, T5GemmaEncoderModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "io_channels": 4,
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 2,
        "cond_token_dim": WIDTH,
        "global_cond_dim": WIDTH,
        "local_add_cond_dim": 5,
        "timestep_features_dim": 8,
        "num_memory_tokens": 3,
    }
    transformer = StableAudio3DiTModel(**{**config, **network})
    vae = AutoencoderSAME(
        patch_size=4,
        encoder_channels=16,
        encoder_c_mults=(2,),
        encoder_strides=(4,),
        encoder_transformer_depths=(2,),
        latent_dim=4,
        dim_heads=16,
        sampling_rate=RATE,
    )
    for module in (transformer, vae):
        for weight in module.parameters():  # some of which begin as zeros
            if not weight.any():
                torch.nn.init.normal_(weight, std=0.2)
    transformer.save_pretrained(folder / "transformer")
    vae.save_pretrained(folder / "vae")
    StableAudio3DurationEmbedder(output_dim=WIDTH, fourier_dim=8).save_pretrained(
        folder / "duration_embedder"
    )
    heads = {
        "hidden_size": WIDTH,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "vocab_size": 200,
        "query_pre_attn_scalar": 8,
    }
    text = T5GemmaConfig(encoder=heads, decoder=heads, is_encoder_decoder=False, vocab_size=200)
    T5GemmaEncoderModel(text).save_pretrained(folder / "text_encoder")
    write_gemma_tokenizer(folder / "tokenizer", "")
    write_configs(
        folder,
        "StableAudio3Pipeline",
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1,
            "stochastic_sampling": True,
            **scheduler,
        },
        {
            "vae": ["diffusers", "AutoencoderSAME"],
            "text_encoder": ["transformers", "T5GemmaEncoderModel"],
            "tokenizer": ["transformers", "GemmaTokenizerFast"],
            "duration_embedder": ["stable_audio_3", "StableAudio3DurationEmbedder"],
            "transformer": ["diffusers", "StableAudio3DiTModel"],
        },
    )
    return folder
