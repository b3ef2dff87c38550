"""Tiny folders of pixel models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.kept import kept


@kept
def write_ddpm(
    folder: Path,
    pipeline: str = "DDPMPipeline",
    scheduler: dict[str, Any] | None = None,
    id2label: dict[int, str] | None = None,
    **unet: Any,
) -> Path:
    """A DDPMPipeline or DDIMPipeline folder: 8x8 pictures in RGB.

    Args:
        scheduler: over its config.
        unet: over the network's, such as ``in_channels=1, out_channels=1``.
    """
    write_unet(folder / "unet", **unet)
    config = {
        "_class_name": "DDPMScheduler",
        "beta_schedule": "linear",
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "num_train_timesteps": 1000,
        "clip_sample": True,
        "variance_type": "fixed_small",
        **(scheduler or {}),
    }
    labels = {} if id2label is None else {"id2label": id2label}
    write_configs(folder, pipeline, config, {"unet": ["diffusers", "UNet2DModel"], **labels})
    return folder


def write_unet(folder: Path, **changes: Any) -> None:
    """A UNet2DModel: 8x8, 3 channels, with attention."""
    import torch
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        **{
            "sample_size": 8,
            "in_channels": 3,
            "out_channels": 3,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": 8,
            "norm_num_groups": 4,
            **changes,
        }
    )
    unet.save_pretrained(folder)
