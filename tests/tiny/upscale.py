"""Tiny folders of the upscalers of Stable Diffusion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.stable_diffusion import write_stable_diffusion
from tiny.text_encoders import write_clip

HIDDEN = 32


def write_stable_diffusion_upscale(folder: Path, **network: Any) -> Path:
    """An x4 upscaler: 8x8 latents of 4 channels, 32x32 pictures of ones of 8x8."""
    import torch
    from diffusers import AutoencoderKL

    config = {"in_channels": 7, "num_class_embeds": 100, **network}
    write_stable_diffusion(
        folder,
        {"prediction_type": "v_prediction"},
        pipeline="StableDiffusionUpscalePipeline",
        **config,
    )
    torch.manual_seed(1)
    AutoencoderKL(
        block_out_channels=(8, 8, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        scaling_factor=0.08333,
    ).save_pretrained(folder / "vae")
    low = folder / "low_res_scheduler"
    low.mkdir(exist_ok=True)
    (low / "scheduler_config.json").write_text(
        json.dumps({"_class_name": "DDPMScheduler", "beta_schedule": "squaredcos_cap_v2"})
    )
    file = folder / "model_index.json"
    index = json.loads(file.read_text())
    index |= {"low_res_scheduler": ["diffusers", "DDPMScheduler"], "max_noise_level": 50}
    for name in ("image_encoder", "requires_safety_checker"):
        index.pop(name)
    file.write_text(json.dumps({**index, "watermarker": [None, None]}))
    return folder


def write_latent_upscale(folder: Path, **network: Any) -> Path:
    """An x2 upscaler of latents: 16x16 latents of 4 channels, 32x32 pictures of ones of 16x16."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": 16,
        "act_fn": "gelu",
        "attention_head_dim": 8,
        "norm_num_groups": None,
        "block_out_channels": [32, 32, 64, 64],
        "time_cond_proj_dim": 128 + HIDDEN,
        "conv_in_kernel": 1,
        "conv_out_kernel": 1,
        "cross_attention_dim": HIDDEN,
        "down_block_types": ("KDownBlock2D", *("KCrossAttnDownBlock2D",) * 3),
        "up_block_types": (*("KCrossAttnUpBlock2D",) * 3, "KUpBlock2D"),
        "mid_block_type": None,
        "only_cross_attention": False,
        "in_channels": 8,
        "out_channels": 5,
        "resnet_time_scale_shift": "scale_shift",
        "time_embedding_type": "fourier",
        "timestep_post_act": "gelu",
    }
    UNet2DConditionModel(**{**config, **network}).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    ).save_pretrained(folder / "vae")
    write_clip(folder, "text_encoder", "tokenizer", HIDDEN)
    write_configs(
        folder,
        "StableDiffusionLatentUpscalePipeline",
        {
            "_class_name": "EulerDiscreteScheduler",
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "prediction_type": "sample",
        },
        {
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    return folder
