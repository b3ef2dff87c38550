"""Tiny CogVideoX folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.text_encoders import write_t5


def write_cogvideox(
    folder: Path,
    rotary: bool = False,
    scheduler: dict[str, Any] | None = None,
    pipeline: str = "CogVideoXPipeline",
    inverted: bool = False,
    **network: Any,
) -> Path:
    """A CogVideoX folder: latents of 4 channels, 4 frames of 4x4 pixels for each.

    Args:
        rotary: the network turns its queries and keys by their places (5 billion weights), or adds
            the places to the tokens (2 billion).
        scheduler: over the scheduler's config.
        inverted: the autoencoder's scale was upside down when the network learnt pictures.
        network: over the network's config.
    """
    import torch
    from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "in_channels": 8 if pipeline == "CogVideoXImageToVideoPipeline" else 4,
        "out_channels": 4,
        "time_embed_dim": 8,
        "text_embed_dim": 32,
        "num_layers": 1,
        "sample_width": 8,
        "sample_height": 8,
        "sample_frames": 9,
        "use_rotary_positional_embeddings": rotary,
    }
    CogVideoXTransformer3DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    blocks = 3  # time is halved twice
    AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * blocks,
        up_block_types=("CogVideoXUpBlock3D",) * blocks,
        block_out_channels=(8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
        invert_scale_latents=inverted,
    ).save_pretrained(folder / "vae")
    write_t5(folder, "text_encoder", "tokenizer", hidden=32)
    write_configs(
        folder,
        pipeline,
        {
            "_class_name": "CogVideoXDDIMScheduler",
            "num_train_timesteps": 1000,
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "prediction_type": "v_prediction",
            "rescale_betas_zero_snr": True,
            "set_alpha_to_one": True,
            "snr_shift_scale": 3.0,
            "timestep_spacing": "trailing",
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", "T5EncoderModel"],
            "tokenizer": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "CogVideoXTransformer3DModel"],
            "vae": ["diffusers", "AutoencoderKLCogVideoX"],
        },
    )
    return folder
