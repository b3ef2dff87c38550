"""The shipped video model, as it is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import AnimateDiffPipeline

from ldm_core import Pipeline
from ldm_core.model.files import size_of
from ldm_pipelines.moving_shapes.checker import read
from ldm_pipelines.moving_shapes.scenes import Motion
from peers import apart
from video_peers import video_distance

MOTIONS = [
    Motion("circle", "red", "right", "black"),
    Motion("square", "yellow", "left", "black"),
    Motion("triangle", "blue", "down", "black"),
    Motion("square", "white", "up", "black"),
]
PROMPTS = [motion.caption for motion in MOTIONS]


@pytest.fixture(scope="module")
def moving() -> Pipeline:
    return Pipeline.from_pretrained("moving-shapes")


@pytest.fixture(scope="module")
def folder(moving: Pipeline) -> Path:
    return moving.model.info.folder


def test_it_is_small_and_safe(folder: Path) -> None:
    assert size_of(folder) <= 16_000_000
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".txt", ".safetensors", ".md", ".toml"}
    assert (folder / "README.md").is_file()


def test_eight_frames_are_made_where_nothing_is_chosen(moving: Pipeline) -> None:
    assert moving.model.info.default_extent == {"frames": 8, "height": 64, "width": 64}
    assert moving.model.info.rate == 8


def test_videos_do_what_their_prompts_say(moving: Pipeline) -> None:
    """With the model's own steps and guidance; each of four ways, by a judge that never drew."""
    videos = moving(PROMPTS, seed=11, output_type="np").images
    verdicts = [read(v).agrees(m) for v, m in zip(videos, MOTIONS, strict=True)]
    for word in ("direction", "background"):
        assert all(verdict[word] for verdict in verdicts), (word, verdicts)
    assert np.sum([verdict["colour"] for verdict in verdicts]) >= 3, verdicts


def test_frames_are_those_of_animatediff_pipeline(moving: Pipeline, folder: Path) -> None:
    peer = AnimateDiffPipeline.from_pretrained(folder)
    call: dict[str, Any] = {"frames": 8, "num_inference_steps": 4, "guidance_scale": 3.0}
    assert video_distance(moving, peer, prompts=PROMPTS[:2], **call) < 1e-4


def test_a_video_depends_on_its_prompt_and_seed_alone(moving: Pipeline) -> None:
    call: dict[str, Any] = {"num_inference_steps": 3, "output_type": "latent"}
    together = moving(PROMPTS[:3], seed=[1, 2, 3], **call).images
    assert apart(moving(PROMPTS[1], seed=2, **call).images[0], together[1]) < 1e-5
    assert apart(moving(PROMPTS[:3], seed=[1, 2, 3], **call).images, together) == 0
