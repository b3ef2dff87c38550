"""Tiny Wan folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.tokenizers import write_t5_tokenizer

CHANNELS = 4
STRIDE = 4  # frames that share a latent


def write_wan(
    folder: Path,
    pipeline: str = "WanPipeline",
    *,
    shown: str = "",
    two: bool = False,
    tokenwise: bool = False,
    scheduler: dict[str, Any] | None = None,
    index: dict[str, Any] | None = None,
    **network: Any,
) -> Path:
    """A Wan folder: latents of 4 channels, 4 frames of 4x4 pixels for each.

    Args:
        shown: the network is shown frames: ``channels`` as such alone (2.2), ``first`` with what
            CLIP sees in one (2.1), or ``both`` with what it sees in the first and the last.
        two: a network for high noise and another for low (2.2).
        tokenwise: the network takes a timestep for each token, and the autoencoder patches: 8x8
            pixels for a latent (2.2 of 5 billion weights).
        scheduler: over the scheduler's config.
        index: over model_index.json.
        network: over the networks' config.
    """
    import torch
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 2 * CHANNELS + STRIDE if shown else CHANNELS,
        "out_channels": CHANNELS,
        "text_dim": 32,
        "freq_dim": 16,
        "ffn_dim": 32,
        "num_layers": 2,
    }
    if shown in ("first", "both"):
        tokens = write_image_encoder(folder)
        config |= {"image_dim": 24, "added_kv_proj_dim": 24}
        config |= {"pos_embed_seq_len": 2 * tokens if shown == "both" else None}
    names = ("transformer", "transformer_2") if two else ("transformer",)
    for name in names:
        module = WanTransformer3DModel(**{**config, **network})
        for weight in module.parameters():  # which begin at zero in part, and small
            torch.nn.init.normal_(weight, std=0.2)
        module.save_pretrained(folder / name)
    write_autoencoder_wan(folder, patch=2 if tokenwise else None)
    write_umt5(folder, hidden=32)
    write_t5_tokenizer(folder / "tokenizer")
    network_entry, nothing = ["diffusers", "WanTransformer3DModel"], [None, None]
    sees = bool(config.get("image_dim"))
    optional = {
        "image_encoder": ["transformers", "CLIPVisionModel"] if sees else nothing,
        "image_processor": ["transformers", "CLIPImageProcessor"] if sees else nothing,
    }
    write_configs(
        folder,
        pipeline,
        {
            "_class_name": "UniPCMultistepScheduler",
            "num_train_timesteps": 1000,
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "flow_shift": 3.0,
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", "UMT5EncoderModel"],
            "tokenizer": ["transformers", "T5TokenizerFast"],
            "transformer": network_entry,
            "transformer_2": network_entry if two else nothing,
            "vae": ["diffusers", "AutoencoderKLWan"],
            **({} if pipeline == "WanPipeline" else optional),
            "boundary_ratio": 0.9 if two else None,
            "expand_timesteps": tokenwise,
            **(index or {}),
        },
    )
    return folder


def write_autoencoder_wan(folder: Path, patch: int | None = None) -> None:
    """An AutoencoderKLWan: one latent for 4 frames of 4x4 pixels, or of 8x8 where it patches."""
    from diffusers import AutoencoderKLWan

    colours = 3 * (patch or 1) ** 2
    AutoencoderKLWan(
        base_dim=4,
        z_dim=CHANNELS,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        latents_mean=[-0.2, 0.1, 0.3, -0.4],
        latents_std=[0.5, 0.8, 1.2, 1.5],
        is_residual=patch is not None,
        in_channels=colours,
        out_channels=colours,
        patch_size=patch,
        scale_factor_spatial=4 * (patch or 1),
    ).save_pretrained(folder / "vae")


def write_umt5(folder: Path, hidden: int) -> None:
    """A UMT5 encoder."""
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(vocab_size=100, d_model=hidden, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")


def write_image_encoder(folder: Path) -> int:
    """A CLIPVisionModel of width 24 with its processor; how many states it has of a picture."""
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=8,
        patch_size=4,
    )
    CLIPVisionModel(config).save_pretrained(folder / "image_encoder")
    size = {"height": 8, "width": 8}
    processor = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=size)
    processor.save_pretrained(folder / "image_processor")
    return 5
