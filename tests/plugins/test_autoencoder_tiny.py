"""Folders whose own autoencoder is an AutoencoderTiny: Diffusers' own latents and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderTiny,
    FluxPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from peers import Unpacked, apart, distance_to_peer


def with_tiny(folder: Path, channels: int = 4) -> Path:
    """A folder with such an autoencoder in the place of its own."""
    torch.manual_seed(5)
    blocks: dict[str, Any] = {
        "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "num_encoder_blocks": (1, 1),
        "num_decoder_blocks": (1, 1),
        "latent_channels": channels,
    }
    for file in (folder / "vae").iterdir():
        file.unlink()
    AutoencoderTiny(**blocks).save_pretrained(folder / "vae")
    index = json.loads((folder / "model_index.json").read_text())
    index["vae"] = ["diffusers", "AutoencoderTiny"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("write", "peer", "size"),
    [
        (tiny.write_stable_diffusion, StableDiffusionPipeline.from_pretrained, {}),
        (tiny.write_stable_diffusion_xl, StableDiffusionXLPipeline.from_pretrained, {}),
        (tiny.write_stable_diffusion_3, StableDiffusion3Pipeline.from_pretrained, {}),
        (
            tiny.write_flux,
            lambda folder: Unpacked(FluxPipeline.from_pretrained(folder)),
            {"width": 64, "height": 64},
        ),
    ],
    ids=["sd", "xl", "sd3", "flux"],
)
def test_it_draws_what_diffusers_draws(
    tmp_path: Path, write: Any, peer: Any, size: dict[str, int]
) -> None:
    folder = with_tiny(write(tmp_path))
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["decoder"] == {"name": "autoencoder_tiny"}
    assert distance_to_peer(pipe, peer(folder), num_inference_steps=2, **size) < 1e-5


def test_pictures_are_encoded_as_in_diffusers(tmp_path: Path) -> None:
    folder = with_tiny(tiny.write_stable_diffusion(tmp_path))
    theirs = StableDiffusionImg2ImgPipeline.from_pretrained(folder)
    pipe = Pipeline.from_pretrained(folder)
    ours = pipe.replace(conditioning=["text", "image"])
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    call = {"strength": 0.6, "guidance_scale": 4.0}
    own = {"image": list(pictures), "width": 16, "height": 16}
    assert distance_to_peer(ours, theirs, own, {"image": pictures}, **call) < 1e-5
    assert apart(pipe.encode(pictures[0], seed=1), pipe.encode(pictures[0], seed=2)) == 0


def test_one_of_other_channels_is_refused_before_weights(tmp_path: Path) -> None:
    folder = with_tiny(tiny.write_stable_diffusion(tmp_path), channels=3)
    with pytest.raises(LdmError, match="takes 4 channels and the autoencoder gives 3"):
        compose({"model": str(folder)})
