"""The upscalers of Stable Diffusion: Diffusers' own pictures from the same folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionLatentUpscalePipeline, StableDiffusionUpscalePipeline
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_upscale as theirs

import tiny
from altered import altered
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.numerics.seeded_noise import SeededNoise
from ldm_core.plugins.registry import installed
from ldm_plugins.families.stable_diffusion_upscale import AUGMENTATION
from peers import apart
from video_peers import PROMPTS, alone, picture, pixels

SIZE: dict[str, Any] = {"height": 32, "width": 64}
SEEDS = [3, 4]
PICTURES = {factor: [picture(s, 64 // factor, 32 // factor) for s in range(4)] for factor in (2, 4)}
WRITERS = {2: tiny.write_latent_upscale, 4: tiny.write_stable_diffusion_upscale}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("upscalers")
    return {factor: write(folder / str(factor)) for factor, write in WRITERS.items()}


@pytest.fixture(scope="module")
def pipes(folders: dict[int, Path]) -> dict[int, Pipeline]:
    return {factor: Pipeline.from_pretrained(folder) for factor, folder in folders.items()}


def distance(
    pipe: Pipeline,
    peer: Any,
    factor: int,
    patch: pytest.MonkeyPatch,
    own: dict[str, Any] | None = None,
    their: dict[str, Any] | None = None,
) -> float:
    """Relative distance to Diffusers in latents and pictures; it gets our noise, and of the x2
    upscaler the latents of the picture, of which it would draw from the posterior."""
    peer.set_progress_bar_config(disable=True)
    shown: Any = PICTURES[factor][:2]
    if factor == 2:
        both = torch.cat([pixels(image)[:, :, 0] for image in shown])
        with torch.no_grad():
            shown = peer.vae.encode(both).latent_dist.mode() * peer.vae.config.scaling_factor
    distances = []
    for output_type in ("latent", "np"):
        noise = SeededNoise([s ^ AUGMENTATION for s in SEEDS], (3, 8, 16), torch.device("cpu"))

        def drawn(shape: Sequence[int], n: Any = noise, **options: Any) -> torch.Tensor:
            assert tuple(shape) == (2, 3, 8, 16)
            drawn_noise: torch.Tensor = n()
            return drawn_noise

        patch.setattr(theirs, "randn_tensor", drawn)
        call: dict[str, Any] = {"num_inference_steps": 3, "output_type": output_type}
        latents = pipe.noise(SEEDS, SIZE)()
        expected = peer(list(PROMPTS), image=shown, latents=latents, **call, **(their or {})).images
        made = pipe(
            list(PROMPTS),
            low_resolution=PICTURES[factor][:2],
            seed=SEEDS,
            **SIZE,
            **call,
            **(own or {}),
        ).images
        distances.append(apart(made, expected))
    return max(distances)


PEERS = {2: StableDiffusionLatentUpscalePipeline, 4: StableDiffusionUpscalePipeline}


@pytest.mark.parametrize("factor", [2, 4])
def test_pictures_are_those_of_diffusers(
    folders: dict[int, Path],
    pipes: dict[int, Pipeline],
    monkeypatch: pytest.MonkeyPatch,
    factor: int,
) -> None:
    pipe = pipes[factor]
    assert pipe.recipe["num_inference_steps"] == 75
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 9.0}
    assert pipe.model.info.default_extent == {"height": 32, "width": 32}
    peer = PEERS[factor].from_pretrained(folders[factor])
    assert distance(pipe, peer, factor, monkeypatch) < 1e-4
    plain, negative = pipe.replace(guidance="none"), {"negative_prompt": ["a star"] * 2}
    assert distance(plain, peer, factor, monkeypatch, their={"guidance_scale": 1.0}) < 1e-4
    assert distance(pipe, peer, factor, monkeypatch, negative, negative) < 1e-4
    if factor == 4:
        level = {"noise_level": 41}
        assert distance(pipe, peer, factor, monkeypatch, level, level) < 1e-4


@pytest.mark.parametrize("factor", [2, 4])
def test_a_picture_depends_on_its_own_inputs_and_seed(
    pipes: dict[int, Pipeline], factor: int
) -> None:
    inputs: dict[str, list[Any]] = {
        "prompt": [*PROMPTS, "", "a blue circle"],
        "low_resolution": PICTURES[factor],
    }
    if factor == 4:
        inputs["noise_level"] = [0, None, 50, 7]
    assert alone(pipes[factor], inputs, **SIZE) < 1e-5


@pytest.mark.parametrize("factor", [2, 4])
def test_the_small_picture_is_seen(pipes: dict[int, Pipeline], factor: int) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent", **SIZE}
    made = [
        pipes[factor]("a star", low_resolution=image, **call).images
        for image in PICTURES[factor][:2]
    ]
    assert apart(*made) > 1e-3


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("scheduler", ["euler", "dpmpp_2m", "heun", "ddim", "unipc", "lcm"])
def test_ordinary_schedulers_run_on_it(
    pipes: dict[int, Pipeline], factor: int, scheduler: str
) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 3, "output_type": "latent", **SIZE}
    pipe = pipes[factor].replace(scheduler=scheduler)
    made = pipe("a star", low_resolution=PICTURES[factor][0], **call).images
    assert made.isfinite().all()
    assert 0.01 < made.std() < 50


@pytest.mark.parametrize(
    ("factor", "file", "changes", "message"),
    [
        (4, "unet/config.json", {"in_channels": 4}, "takes 4 channels; it should take"),
        (4, "unet/config.json", {"num_class_embeds": 50}, "knows 50 levels"),
        (4, "unet/config.json", {"cross_attention_dim": 8}, "width 8, and the text encoder"),
        (4, "vae/config.json", {"scaling_factor": 0.2}, "scaling_factor is 0.2"),
        (2, "unet/config.json", {"in_channels": 4}, "takes 4 channels and returns 5"),
        (2, "unet/config.json", {"time_cond_proj_dim": 100}, "is told 100 numbers"),
        (2, "scheduler/scheduler_config.json", {"prediction_type": "epsilon"}, "not 'epsilon'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    folders: dict[int, Path], factor: int, file: str, changes: dict[str, Any], message: str
) -> None:
    folder = folders[factor]
    with altered(folder / file, changes), pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


@pytest.mark.parametrize(
    ("factor", "inputs", "message"),
    [
        (4, {}, "needs 'low_resolution'"),
        (4, {"low_resolution": PICTURES[2][0]}, "makes 128x64, and 64x32 is to be made"),
        (2, {"low_resolution": PICTURES[4][0]}, "makes 32x16, and 64x32 is to be made"),
        (4, {"low_resolution": PICTURES[4][0], "noise_level": 51}, "from 0 to 50, not 51"),
        (4, {"low_resolution": PICTURES[4][0], "noise_level": -1}, "whole number, not -1"),
        (2, {"low_resolution": PICTURES[2][0], "noise_level": 3}, "without noise"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(
    pipes: dict[int, Pipeline], factor: int, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        pipes[factor]("a star", seed=1, **inputs, **SIZE)
