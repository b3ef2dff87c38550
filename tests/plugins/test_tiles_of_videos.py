"""Videos decoded in tiles, against Diffusers' own switch with the same tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLLTX2Video,
    AutoencoderKLWan,
)

import tiny
from ldm_core import LdmError, Pipeline
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


def test_a_latent_is_not_left_alone_where_edges_are_mirrored(tmp_path: Path) -> None:
    """Of ten latents, tiles of four that begin at every third would leave one, on which LTX-2's
    decoder fails in Diffusers."""
    pipe = Pipeline.from_pretrained(tiny.write_ltx_2(tmp_path))
    stride = pipe.model.info.latents.axis("height").stride
    tiling = {"name": "vae_tiling", "size": 4 * stride}
    tiled = pipe.replace(converters=[tiling])
    own = tiled.model.part("autoencoder").module
    assert own.config.decoder_spatial_padding_mode == "reflect"
    z = torch.randn(1, 4, 2, 10, 10, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), pytest.raises(RuntimeError, match="Padding size"):
        AutoencoderKLLTX2Video.tiled_decode(own, z, None)
    with torch.no_grad():
        whole, parts = (p.model.part("autoencoder").module.decode(z).sample for p in (pipe, tiled))
    assert parts.shape == whole.shape
    assert 0 < apart(parts, whole) < 1
    assert own.tile_sample_stride_width == 3 * stride
    with pytest.raises(LdmError, match="of 13 latents a side, tiles of 4 leave one alone"):
        own.tiled_decode(z.new_zeros(1, 4, 2, 13, 13), None)
