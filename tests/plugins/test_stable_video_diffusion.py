"""The Stable Video Diffusion family: Diffusers' own videos from the same folders."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as theirs

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.numerics.seeded_noise import SeededNoise
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared.clip_vision import smoothly_scaled
from ldm_plugins.families.stable_video_diffusion import AUGMENTATION
from peers import apart
from video_peers import alone, picture

SMALL: dict[str, Any] = {"height": 16, "width": 24}
PICTURES = [picture(seed, 24, 16) for seed in (1, 2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_stable_video_diffusion(tmp_path_factory.mktemp("svd"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


def distance(
    pipe: Pipeline,
    folder: Path,
    patch: pytest.MonkeyPatch,
    own: dict[str, Any] | None = None,
    their: dict[str, Any] | None = None,
    frames: int = 4,
    steps: int = 3,
) -> float:
    """Relative distance to Diffusers in latents and frames; it draws its noise frame by frame, so
    it gets ours, and ours in the pictures."""
    seeds = [3, 4]
    peer = StableVideoDiffusionPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    extent = {"frames": frames, **SMALL}
    noise = pipe.noise(seeds, extent)().transpose(1, 2)
    in_pictures = SeededNoise([s ^ AUGMENTATION for s in seeds], (3, 16, 24), torch.device("cpu"))

    def drawn(shape: Sequence[int], **options: Any) -> torch.Tensor:
        assert tuple(shape) == (2, 3, 16, 24)
        return in_pictures()

    patch.setattr(theirs, "randn_tensor", drawn)
    distances = []
    for output_type in ("latent", "np"):
        both: dict[str, Any] = {"num_inference_steps": steps, "output_type": output_type, **SMALL}
        expected = peer(PICTURES, num_frames=frames, latents=noise, **both, **(their or {})).frames
        made = pipe(first_frame=PICTURES, seed=seeds, frames=frames, **both, **(own or {})).images
        if output_type == "latent":
            expected = expected.transpose(1, 2)
        distances.append(apart(made, expected))
        in_pictures = SeededNoise(
            [s ^ AUGMENTATION for s in seeds], (3, 16, 24), torch.device("cpu")
        )
    return max(distances)


def test_nothing_chosen_gives_what_diffusers_gives(
    folder: Path, pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pipe.recipe["num_inference_steps"] == 25
    assert pipe.recipe["spacing"] == {"name": "karras"}
    assert pipe.recipe["guidance"] == {"name": "along_frames", "first": 1.0, "scale": 3.0}
    assert pipe.model.info.default_extent == {"frames": 4, "height": 144, "width": 256}
    assert distance(pipe, folder, monkeypatch) < 1e-5


def test_what_the_network_is_told_is_what_diffusers_tells_it(
    folder: Path, pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    motion = {"motion_bucket_id": 40, "noise_aug_strength": 0.3}
    own = {**motion, "frame_rate": 12}
    assert distance(pipe, folder, monkeypatch, own, {**motion, "fps": 12}, frames=3) < 1e-5


@pytest.mark.slow
def test_scales_and_no_guidance_are_those_of_diffusers(
    folder: Path, pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales = {"min_guidance_scale": 2.0, "max_guidance_scale": 5.0}
    other = pipe.replace(guidance={"first": 2.0, "scale": 5.0})
    assert distance(other, folder, monkeypatch, their=scales) < 1e-5
    plain = pipe.replace(guidance="none")
    assert distance(plain, folder, monkeypatch, their={"max_guidance_scale": 1.0}) < 1e-5


def test_points_are_those_of_diffusers(folder: Path, pipe: Pipeline) -> None:
    scheduler = StableVideoDiffusionPipeline.from_pretrained(folder).scheduler
    for steps in (1, 2, 25):
        scheduler.set_timesteps(steps)
        grid = pipe.composition.grid(steps)
        assert [p.ratio for p in grid] == pytest.approx(scheduler.sigmas.tolist(), rel=1e-6)
        told = [math.log(p.ratio) / 4 for p in grid[:-1]]
        assert told == pytest.approx(scheduler.timesteps.tolist(), abs=1e-6)


@pytest.mark.parametrize(("height", "width"), [(16, 24), (300, 448), (576, 1024)])
def test_pictures_are_scaled_as_diffusers_scales_them(height: int, width: int) -> None:
    pictures = torch.rand(1, 3, height, width)
    expected = theirs._resize_with_antialiasing(pictures, (224, 224))
    assert apart(smoothly_scaled(pictures, 224), expected) < 1e-6


def test_a_video_depends_on_its_own_picture_and_seed(pipe: Pipeline) -> None:
    inputs = {
        "first_frame": [picture(seed, 24, 16) for seed in range(4)],
        "motion_bucket_id": [0, 50, 127, 200],
    }
    assert alone(pipe, inputs, frames=3, **SMALL) < 1e-5


def test_guidance_grows_along_the_frames_or_comes_back(pipe: Pipeline) -> None:
    """The guided answer, less the plain one, is the difference of the branches times scale - 1."""
    call: dict[str, Any] = {
        "first_frame": PICTURES[:1], "seed": 3, "frames": 3, "num_inference_steps": 1,
        "output_type": "latent", **SMALL,
    }  # fmt: skip
    plain = pipe.replace(guidance="none")(**call).images
    whole = pipe.replace(guidance={"name": "classifier_free", "scale": 2.0})(**call).images - plain
    for curve, scales in (("line", (1.0, 2.5, 4.0)), ("triangle", (1.0, 4.0, 1.0))):
        guidance = {"first": 1.0, "scale": 4.0, "curve": curve}
        made = pipe.replace(guidance=guidance)(**call).images - plain
        factors = torch.tensor([scale - 1 for scale in scales]).view(1, 1, 3, 1, 1)
        assert apart(made, whole * factors) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "heun", "ddim", "unipc", "lcm"])
def test_ordinary_schedulers_run_on_it(pipe: Pipeline, scheduler: str) -> None:
    call: dict[str, Any] = {"frames": 2, "num_inference_steps": 3, "output_type": "latent", **SMALL}
    made = pipe.replace(scheduler=scheduler)(first_frame=PICTURES[:1], seed=1, **call).images
    assert made.isfinite().all()
    assert 0.01 < made.std() < 50


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("unet/config.json", {"in_channels": 4}, "takes 4 channels and returns 4"),
        ("unet/config.json", {"cross_attention_dim": 32}, "the image encoder gives 16"),
        ("unet/config.json", {"addition_time_embed_dim": 16}, "24 numbers beside the timestep"),
        ("feature_extractor/preprocessor_config.json", {"image_mean": [0.5]}, "should be 3 numb"),
        ("feature_extractor/preprocessor_config.json", {"image_std": [0, 0, 0]}, "be above 0"),
        ("scheduler/scheduler_config.json", {"prediction_type": "epsilon"}, "of v_prediction"),
        ("scheduler/scheduler_config.json", {"use_karras_sigmas": False}, "none of them"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    folder = tiny.write_stable_video_diffusion(tmp_path)
    edited = folder / file
    edited.write_text(json.dumps({**json.loads(edited.read_text()), **changes}))
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "needs 'first_frame'"),
        ({"first_frame": picture(1, 8, 8)}, "is 8x8 pixels and 24x16"),
        ({"first_frame": PICTURES[0], "noise_aug_strength": -1}, "from 0 to 1000, not -1"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(
    pipe: Pipeline, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        pipe(**inputs, seed=1, frames=2, **SMALL)
