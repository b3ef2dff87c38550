"""The AnimateDiff family: Diffusers' own videos from the same folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AnimateDiffPipeline

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from peers import apart
from tiny.lora import ATTENTION, write_lora
from video_peers import alone, video_distance

SMALL: dict[str, Any] = {"height": 16, "width": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_animatediff(tmp_path_factory.mktemp("animatediff"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.mark.parametrize(
    "call",
    [{}, {"guidance_scale": 1.0, "frames": 1}, {"negative_prompt": ["green", "a circle"]}],
    ids=["plain", "no guidance, one frame", "negative prompts"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    folder: Path, pipe: Pipeline, call: dict[str, Any]
) -> None:
    assert pipe.recipe["num_inference_steps"] == 50
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 7.5}
    assert pipe.model.info.default_extent == {"frames": 16, "height": 16, "width": 16}
    peer = AnimateDiffPipeline.from_pretrained(folder)
    assert video_distance(pipe, peer, **{"frames": 4, **SMALL, **call}) < 1e-5


@pytest.mark.slow
def test_the_folders_scheduler_is_used(tmp_path: Path) -> None:
    folder = tiny.write_animatediff(tmp_path, {"_class_name": "EulerDiscreteScheduler"})
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["scheduler"] == {"name": "euler"}
    peer = AnimateDiffPipeline.from_pretrained(folder)
    assert video_distance(pipe, peer, frames=3, **SMALL) < 1e-5


@pytest.mark.slow
def test_a_lora_gives_what_diffusers_gives(folder: Path, tmp_path: Path) -> None:
    """Of all layers of attention, those along the frames too, as of a certain camera's motion."""
    file = write_lora(AnimateDiffPipeline, folder, tmp_path, {"unet": ATTENTION}, seed=5)
    peer = AnimateDiffPipeline.from_pretrained(folder)
    peer.load_lora_weights(tmp_path)
    pipe = Pipeline.from_pretrained(folder, loras=[str(file)])
    assert video_distance(pipe, peer, frames=3, **SMALL) < 1e-5


def test_a_video_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    prompts = ["a", "a red star", "a large blue circle", "star star star"]
    assert alone(pipe, {"prompt": prompts}, frames=3, **SMALL) < 1e-5


def test_a_video_that_is_encoded_and_decoded_is_that_of_its_frames(pipe: Pipeline) -> None:
    frames = torch.rand(2, 3, 3, 16, 24) * 2 - 1
    latents = pipe.encode(frames, seed=3)
    assert latents.shape == (2, 4, 3, 8, 12)
    vae = pipe.model.parts["vae"].module
    with torch.no_grad():
        mean = vae.encode(frames[1].transpose(0, 1)).latent_dist.mean
        means = pipe.replace(encoder={"sample": False}).encode(frames, seed=3)
        assert apart(means[1].transpose(0, 1), mean * vae.config.scaling_factor) < 1e-6
        shown = vae.decode(latents[1].transpose(0, 1) / vae.config.scaling_factor).sample
    decoded = pipe.replace(decoder={"frames": 2}).decode(latents).data
    assert apart(decoded[1].transpose(0, 1), shown) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "heun", "euler", "unipc", "lcm"])
def test_ordinary_schedulers_run_on_it(pipe: Pipeline, scheduler: str) -> None:
    call: dict[str, Any] = {"seed": 1, "frames": 2, "num_inference_steps": 2, **SMALL}
    made = pipe.replace(scheduler=scheduler)("a star", output_type="latent", **call).images
    assert made.isfinite().all()
    assert 0.1 < made.std() < 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cross_attention_dim": 64}, "width 64, and the text encoder gives 32"),
        ({"in_channels": 9}, "takes 9 channels"),
        ({"time_cond_proj_dim": 8}, "time_cond_proj_dim is 8"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = tiny.write_animatediff(tmp_path)
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


def test_more_frames_than_there_are_positions_are_refused(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="frames should be at most 16, for which it has positions"):
        pipe("a star", seed=1, frames=17, **SMALL)
