"""FreeU: Diffusers' own latents from the same folders, and nobody else's network changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AnimateDiffPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from peers import apart, distance_to_peer

FACTORS = {"s1": 0.8, "s2": 0.3, "b1": 1.5, "b2": 1.6}
CALL: dict[str, Any] = {"num_inference_steps": 3, "seed": 3, "output_type": "latent"}


@pytest.mark.parametrize(
    ("write", "peer"),
    [
        (tiny.write_stable_diffusion, StableDiffusionPipeline),
        (tiny.write_stable_diffusion_xl, StableDiffusionXLPipeline),
    ],
)
def test_it_draws_what_diffusers_draws(tmp_path: Path, write: Any, peer: Any) -> None:
    folder = write(tmp_path)
    theirs = peer.from_pretrained(folder)
    theirs.enable_freeu(**FACTORS)
    plain = Pipeline.from_pretrained(folder)
    before = plain("a red star", **CALL).images
    ours = plain.replace(converters=[{"name": "freeu", **FACTORS}])
    assert distance_to_peer(ours, theirs, num_inference_steps=3) < 1e-5
    assert apart(ours("a red star", **CALL).images, before) > 1e-3
    assert torch.equal(plain("a red star", **CALL).images, before)


def test_it_draws_the_videos_that_diffusers_draws(tmp_path: Path) -> None:
    folder = tiny.write_animatediff(tmp_path)
    theirs = AnimateDiffPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    theirs.enable_freeu(**FACTORS)
    ours = Pipeline.from_pretrained(folder, converters=[{"name": "freeu", **FACTORS}])
    sizes = {"height": 16, "width": 16}
    expected = theirs(
        "a star",
        num_frames=4,
        num_inference_steps=2,
        output_type="latent",
        **sizes,
        generator=[torch.Generator().manual_seed(3)],
    ).frames
    found = ours("a star", frames=4, **sizes, **{**CALL, "num_inference_steps": 2}).images
    assert apart(found, expected) < 1e-5


def test_all_factors_of_one_change_nothing_but_rounding(folder: Path) -> None:
    plain = Pipeline.from_pretrained(folder)
    ones = plain.replace(converters=[{"name": "freeu", "s1": 1, "s2": 1, "b1": 1, "b2": 1}])
    assert apart(ones("a star", **CALL).images, plain("a star", **CALL).images) < 1e-5


def test_what_has_no_unet_is_refused_before_weights(tmp_path: Path) -> None:
    folder = tiny.write_stable_diffusion_3(tmp_path)
    with pytest.raises(LdmError, match=r"changes the decoder of a UNet .* has none: .*SD3Tran"):
        compose({"model": str(folder), "converters": ["freeu"]})
