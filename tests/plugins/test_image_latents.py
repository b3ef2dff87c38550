"""Latents as the picture, part of the way done already, and the latents of a masked picture: what
Diffusers draws of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
)
from PIL import Image
from safetensors.torch import save_file

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from peers import apart, distance_to_peer

X0 = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(7))
PROMPTS = ["a red star", "a blue circle"]


def beginning(pipe: Pipeline, name: str) -> Pipeline:
    return pipe.replace(conditioning=[*(c["name"] for c in pipe.recipe["conditioning"]), name])


@pytest.mark.parametrize(
    ("write", "peer"),
    [
        (tiny.write_stable_diffusion, StableDiffusionImg2ImgPipeline),
        (tiny.write_stable_diffusion_xl, StableDiffusionXLImg2ImgPipeline),
        (tiny.write_stable_diffusion_3, StableDiffusion3Img2ImgPipeline),
    ],
)
def test_latents_are_begun_from_as_in_diffusers(tmp_path: Path, write: Any, peer: Any) -> None:
    folder = write(tmp_path)
    sized = {"height": 16, "width": 16} if peer is StableDiffusion3Img2ImgPipeline else {}
    theirs = peer.from_pretrained(folder)
    ours = beginning(Pipeline.from_pretrained(folder), "image_latents")
    call = {"strength": 0.6, "guidance_scale": 4.0}
    own = {"image_latents": list(X0), "height": 16, "width": 16}
    assert distance_to_peer(ours, theirs, own, {"image": X0, **sized}, **call) < 1e-5


def test_a_file_is_the_tensor_in_it(folder: Path, tmp_path: Path) -> None:
    pipe = beginning(Pipeline.from_pretrained(folder), "image_latents")
    file = tmp_path / "x0.safetensors"
    save_file({"x0": X0[0].contiguous()}, file)
    call: dict[str, Any] = {"num_inference_steps": 3, "seed": 3, "output_type": "latent"}
    out = pipe("a star", image_latents=str(file), **call)
    assert torch.equal(out.images, pipe("a star", image_latents=X0[0], **call).images)
    assert out.manifests[0]["inputs"]["image_latents"] == str(file)
    still = pipe("a star", image_latents=X0[0], strength=0, **call).images
    assert apart(still[0], X0[0]) < 1e-6


def test_a_picture_begins_part_of_the_way_as_in_diffusers(tmp_path: Path) -> None:
    folder = tiny.write_stable_diffusion_xl(tmp_path)
    theirs = StableDiffusionXLImg2ImgPipeline.from_pretrained(folder)
    theirs.scheduler = EulerDiscreteScheduler.from_config(theirs.scheduler.config)
    plain = Pipeline.from_pretrained(folder).replace(scheduler="euler")
    picture = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    call: dict[str, Any] = {"denoising_start": 0.6, "guidance_scale": 4.0}
    sizes = {"height": 16, "width": 16}
    ours = beginning(plain, "image")
    own = {"image": list(picture), **sizes}
    assert distance_to_peer(ours, theirs, own, {"image": picture}, **call) < 1e-5
    ours = beginning(plain, "image_latents")
    own = {"image_latents": list(X0), **sizes}
    assert distance_to_peer(ours, theirs, own, {"image": X0}, **call) < 1e-5


def test_a_masked_picture_is_told_as_latents_as_in_diffusers(tmp_path: Path) -> None:
    folder = tiny.write_stable_diffusion(
        tmp_path, pipeline="StableDiffusionInpaintPipeline", in_channels=9
    )
    theirs = StableDiffusionInpaintPipeline.from_pretrained(folder)
    ours = Pipeline.from_pretrained(folder)
    picture = Image.new("RGB", (16, 16), "red")
    mask = Image.new("L", (16, 16))
    mask.paste(255, (4, 4, 12, 12))
    call: dict[str, Any] = {"image": picture, "height": 16, "width": 16, "guidance_scale": 4.0}
    own = {"mask": mask, "masked_image_latents": list(X0)}
    their = {"mask_image": mask, "masked_image_latents": X0}
    assert distance_to_peer(ours, theirs, own, their, **call) < 1e-5
    made = ours(PROMPTS, mask=mask, seed=3, output_type="latent", **call).images
    told = ours(PROMPTS, seed=3, output_type="latent", **call, **own).images
    assert apart(told, made) > 1e-3
    with pytest.raises(LdmError, match="for all images of a run or for none"):
        ours(PROMPTS, mask=mask, masked_image_latents=[X0[0], None], **call)


@pytest.mark.parametrize(
    ("conditioning", "inputs", "match"),
    [
        ("image_latents", {"image_latents": X0}, r"should have the shape \(4, 8, 8\)"),
        ("image_latents", {"image_latents": "a.png"}, "should name a .safetensors file"),
        ("image_latents", {"image_latents": X0[0] / 0}, "not finite"),
        ("image_latents", {"image_latents": 3}, "should be a tensor"),
        ("image_latents", {"image_latents": X0[0], "denoising_start": 1.0}, "to below 1"),
        (
            "image_latents",
            {"image_latents": X0[0], "denoising_start": 0.9995},
            "none of the 4 steps",
        ),
        (
            "image_latents",
            {"image_latents": X0[0], "denoising_start": 0.5, "strength": 0.5},
            "give one of the two",
        ),
        ("mask", {"masked_image_latents": X0[0]}, "takes no 'masked_image_latents'"),
    ],
    ids=["shape", "file", "finite", "kind", "start", "no step", "both", "no such network"],
)
def test_what_cannot_be_used_is_refused_before_weights(
    folder: Path, conditioning: str, inputs: dict[str, Any], match: str
) -> None:
    made = compose({"model": str(folder), "conditioning": ["text", conditioning]})
    with pytest.raises(LdmError, match=match):
        made.plan({"prompt": "a star", **inputs}, [1], num_inference_steps=4)
