"""Videos decoded in tiles, against Diffusers' own switch with the same tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLHunyuanVideo, AutoencoderKLWan

import tiny
from ldm_core import Pipeline
from peers import apart

STRIDES = {f"tile_sample_stride_{side}": 24 for side in ("height", "width")}
FACTORS = {f"tile_overlap_factor_{side}": 0.25 for side in ("height", "width")}
KINDS: dict[str, tuple[Callable[[Path], Path], Any, dict[str, Any]]] = {
    "Wan": (tiny.write_wan, AutoencoderKLWan, STRIDES),
    "CogVideoX": (tiny.write_cogvideox, AutoencoderKLCogVideoX, FACTORS),
    "HunyuanVideo": (tiny.write_hunyuan_video, AutoencoderKLHunyuanVideo, STRIDES),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_are_those_of_diffusers(kind: str, tmp_path: Path) -> None:
    write, cls, steps = KINDS[kind]
    pipe = Pipeline.from_pretrained(write(tmp_path))
    tiled = pipe.replace(converters=[{"name": "vae_tiling", "size": 32}])
    side = 64 // pipe.model.info.latents.axis("height").stride
    latents = torch.randn(1, 4, 3, side, side, generator=torch.Generator().manual_seed(1))
    peer = cls.from_pretrained(tmp_path / "vae")
    sides = {f"tile_sample_min_{side}": 32 for side in ("height", "width")}
    peer.enable_tiling(**sides, **steps)
    config = peer.config
    z = latents / config.get("scaling_factor", 1.0)
    if config.get("latents_std"):
        mean, std = (
            torch.tensor(config[f"latents_{name}"]).view(1, -1, 1, 1, 1) for name in ("mean", "std")
        )
        z = latents * std + mean
    with torch.no_grad():
        theirs = peer.decode(z).sample
    assert apart(tiled.decode(latents), theirs) < 1e-5
    assert apart(pipe.decode(latents), theirs) > 1e-4
