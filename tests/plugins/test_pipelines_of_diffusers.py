"""What pipelines of Diffusers do that the same folders do not do here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from PIL import Image

import tiny
from ldm_core import Pipeline
from peers import apart

LONG = "a large blue circle at the small square on the yellow background"


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_z_image_writes_its_template_into_the_callers_list(tmp_path: Path) -> None:
    """So that the same list means something else in the next call."""
    folder = tiny.write_z_image(tmp_path)
    peer = diffusers.ZImagePipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"width": 24, "height": 16, "num_inference_steps": 2}
    prompts = ["a red star"]
    first, second = (
        peer(prompts, generator=generators(3), output_type="latent", **call).images
        for _ in range(2)
    )
    assert prompts[0].startswith("<|im_start|>user\n<|im_start|>user\na red star")
    assert apart(second, first) > 1e-3
    pipe = Pipeline.from_pretrained(folder)
    prompts = ["a red star"]
    for _ in range(2):
        assert apart(pipe(prompts, seed=3, output_type="latent", **call).images, first) < 1e-5
    assert prompts == ["a red star"]


def test_lumina_2_takes_its_shift_from_the_number_of_channels(tmp_path: Path) -> None:
    """Where the shift grows with the picture; ours counts patches, and a larger picture has another
    shift."""
    folder = tiny.write_lumina_2(tmp_path, scheduler={"use_dynamic_shifting": True})
    peer = diffusers.Lumina2Pipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    sigmas = []
    for side in (32, 256):
        size = {"width": side, "height": side}
        peer(["star"], num_inference_steps=2, output_type="latent", guidance_scale=1.0, **size)
        sigmas.append(peer.scheduler.sigmas[1].item())
    assert sigmas[0] == sigmas[1]
    composition = Pipeline.from_pretrained(folder).composition
    ours = [
        composition.plan({"prompt": "a"}, [1], {"width": side, "height": side}, 2).grid[1].sigma
        for side in (32, 256)
    ]
    assert ours[1] > ours[0] + 0.001


def test_cogview_4_reads_the_padding_of_others(tmp_path: Path) -> None:
    """A short caption beside a long one is filled up and attended; ours is what it is alone."""
    folder = tiny.write_cogview_4(tmp_path)
    peer = diffusers.CogView4Pipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"width": 16, "height": 16, "num_inference_steps": 2}
    call["output_type"] = "latent"
    both = peer(["star", LONG], generator=generators(3, 4), **call).images
    alone = peer(["star"], generator=generators(3), **call).images
    assert apart(both[:1], alone) > 1e-4
    found = Pipeline.from_pretrained(folder)(["star", LONG], seed=[3, 4], **call).images
    assert apart(found[:1], alone) < 1e-5


def test_controlnets_of_stable_diffusion_3_draw_from_the_global_generator(tmp_path: Path) -> None:
    folder = tiny.write_stable_diffusion_3(tmp_path / "model")
    side = tiny.write_transformer_controlnet(tmp_path / "side", folder)
    net = diffusers.SD3ControlNetModel.from_pretrained(side)
    peer = diffusers.StableDiffusion3ControlNetPipeline.from_pretrained(folder, controlnet=net)
    peer.set_progress_bar_config(disable=True)
    picture = Image.new("RGB", (16, 16), "red")
    call: dict[str, Any] = {"control_image": picture, "num_inference_steps": 2}
    call["output_type"] = "latent"
    first, second = (peer(["star"], generator=generators(3), **call).images for _ in range(2))
    assert apart(second, first) > 1e-4
    control = {"name": "control", "models": [str(side)]}
    pipe = Pipeline.from_pretrained(folder).replace(conditioning=["text", control])
    one = pipe(["star"], seed=3, **call).images
    assert one.equal(pipe(["star"], seed=3, **call).images)
