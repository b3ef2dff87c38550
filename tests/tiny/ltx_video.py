"""Tiny LTX-Video folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.text_encoders import write_t5

SHIFT = {
    "base_image_seq_len": 16,
    "max_image_seq_len": 512,
    "base_shift": 0.95,
    "max_shift": 2.05,
    "shift_terminal": 0.1,
    "use_dynamic_shifting": True,
}


def write_ltx_video(
    folder: Path,
    pipeline: str = "LTXPipeline",
    denoises: bool = False,
    scheduler: dict[str, Any] | None = None,
    **network: Any,
) -> Path:
    """A folder of LTX-Video: latents of 8 channels, a place for 4x4 pixels and 4 frames.

    Args:
        denoises: the decoder takes a timestep.
        scheduler: in place of the shift of its config.
        network: over the network's config.
    """
    import torch
    from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "in_channels": 8,
        "out_channels": 8,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "cross_attention_dim": 32,
        "num_layers": 2,
        "caption_channels": 32,
    }
    LTXVideoTransformer3DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5,
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        timestep_conditioning=denoises,
        patch_size=1,
    )
    vae.latents_mean.copy_(torch.randn(8) / 4)
    vae.latents_std.copy_(torch.rand(8) + 0.5)
    vae.save_pretrained(folder / "vae")
    write_t5(folder, "text_encoder", "tokenizer", hidden=32)
    write_configs(
        folder,
        pipeline,
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            **(scheduler or SHIFT),
        },
        {
            "text_encoder": ["transformers", "T5EncoderModel"],
            "tokenizer": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "LTXVideoTransformer3DModel"],
            "vae": ["diffusers", "AutoencoderKLLTXVideo"],
        },
    )
    return folder
