"""Tiny Stable Diffusion XL folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.kept import kept
from tiny.tokenizers import WINDOW, write_clip_tokenizer

WIDTHS = {"text_encoder": 16, "text_encoder_2": 24}
SUMMARY = 20


@kept
def write_stable_diffusion_xl(
    folder: Path,
    scheduler: dict[str, Any] | None = None,
    pipeline: str = "StableDiffusionXLPipeline",
    refiner: bool = False,
    index: dict[str, Any] | None = None,
    vae_config: dict[str, Any] | None = None,
    **unet_config: Any,
) -> Path:
    """An SDXL folder: 8x8 latents of 4 channels, 16x16 pictures.

    Args:
        scheduler: what its config should say otherwise.
        refiner: with the second text encoder alone, and an aesthetic score.
        index: what else model_index.json should say.
        vae_config, unet_config: what the networks should be otherwise.
    """
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    encoders = [name for name in WIDTHS if not refiner or name == "text_encoder_2"]
    unet = UNet2DConditionModel(
        **{
            "sample_size": 8,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2),
            "cross_attention_dim": sum(WIDTHS[name] for name in encoders),
            "attention_head_dim": (2, 4),
            "use_linear_projection": True,
            "norm_num_groups": 8,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": (5 if refiner else 6) * 8 + SUMMARY,
            **unet_config,
        }
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
        scaling_factor=0.13025,
        **(vae_config or {}),
    )
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    for name in encoders:
        second = name == "text_encoder_2"
        config = CLIPTextConfig(
            vocab_size=1000,
            hidden_size=WIDTHS[name],
            intermediate_size=37,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=WINDOW,
            projection_dim=SUMMARY,
            hidden_act="gelu" if second else "quick_gelu",
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
        (CLIPTextModelWithProjection if second else CLIPTextModel)(config).save_pretrained(
            folder / name
        )
        # as in the real folders, the second tokenizer pads with another token than the first
        pad_token = "." if second else "<|endoftext|>"
        write_clip_tokenizer(folder / name.replace("text_encoder", "tokenizer"), pad_token)
    config = {
        "_class_name": "EulerDiscreteScheduler",
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "num_train_timesteps": 1000,
        "steps_offset": 1,
        "timestep_spacing": "leading",
        **(scheduler or {}),
    }
    write_configs(
        folder,
        pipeline,
        config,
        {
            "text_encoder": [None, None] if refiner else ["transformers", "CLIPTextModel"],
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer": [None, None] if refiner else ["transformers", "CLIPTokenizer"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
            "force_zeros_for_empty_prompt": not refiner,
            **({"requires_aesthetics_score": True} if refiner else {}),
            **(index or {}),
        },
    )
    return folder
