"""UNets of Stable Diffusion 1.5's configuration with random weights, and a call of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from timing import Way

CHANNELS = {"quarter": (64, 160, 320, 320), "real": (320, 640, 1280, 1280)}
"""Of Stable Diffusion 1.5's network with about a quarter of its channels, and with all of them."""


def written(name: str, place: Path) -> Path:
    """The folder of a network, which is written where it is not there: 0.2 and 3.4 GB."""
    folder = place / name
    if not (folder / "config.json").is_file():
        torch.manual_seed(0)
        network: Any = UNet2DConditionModel(
            sample_size=64,
            block_out_channels=CHANNELS[name],
            cross_attention_dim=768,
            attention_head_dim=8,
        )
        network.save_pretrained(folder)
    return folder


def read(folder: Path) -> Any:
    network: Any = UNet2DConditionModel.from_pretrained(folder, local_files_only=True)
    return network.eval().requires_grad_(False)


def call_of(network: Any) -> Way:
    """One call of two rows at 64x64 latents."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 64, 64, generator=draw)
    text = torch.randn(2, 77, 768, generator=draw)
    t = torch.full((2,), 500.0)
    return lambda: network(x, t, text, return_dict=False)[0]
