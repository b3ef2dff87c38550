"""The Stable Audio family: Diffusers' own sounds from the same folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableAudioPipeline

import tiny
from altered import altered
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from peers import apart
from sound_peers import draw_ours, stable_audio_peer
from video_peers import PROMPTS, alone

SEEDS = [3, 4]
SHORT = {"samples": 128}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_stable_audio(tmp_path_factory.mktemp("stable_audio"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def peer(folder: Path) -> StableAudioPipeline:
    return stable_audio_peer(folder)


def distance(
    pipe: Pipeline,
    peer: Any,
    patch: pytest.MonkeyPatch,
    own: dict[str, Any] | None = None,
    their: dict[str, Any] | None = None,
    steps: int = 4,
) -> float:
    """Relative distance to Diffusers in latents and samples, whichever is larger; its scheduler
    gets the noise that ours draws, where it would draw from a Brownian tree."""
    peer.set_progress_bar_config(disable=True)
    distances = []
    for output_type in ("latent", "np"):
        noise = pipe.noise(SEEDS, pipe.model.info.default_extent)
        started = noise()
        draw_ours(patch, noise)
        both: dict[str, Any] = {"num_inference_steps": steps, "output_type": output_type}
        expected = peer(list(PROMPTS), latents=started, **both, **(their or {})).audios
        made = pipe(list(PROMPTS), seed=SEEDS, **both, **(own or {})).images
        distances.append(apart(made[..., : expected.shape[-1]], expected))
    return max(distances)


def test_nothing_chosen_gives_what_diffusers_gives(
    pipe: Pipeline, peer: StableAudioPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pipe.recipe["num_inference_steps"] == 100
    assert pipe.recipe["scheduler"]["name"] == "dpmpp_2m_sde"
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 7.0}
    info = pipe.model.info
    assert (info.default_extent, info.rate, info.audio_channels) == ({"samples": 192}, 800.0, 2)
    assert distance(pipe, peer, monkeypatch) < 1e-4


def test_more_steps_than_lower_order_is_for(
    pipe: Pipeline, peer: StableAudioPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert distance(pipe, peer, monkeypatch, steps=16) < 1e-4


@pytest.mark.parametrize("negative", ["", "the green background, a red star"])
def test_a_negative_prompt_and_a_shorter_sound(
    pipe: Pipeline, peer: StableAudioPipeline, monkeypatch: pytest.MonkeyPatch, negative: str
) -> None:
    own = {"negative_prompt": negative, "seconds_total": 0.125}
    their = {"negative_prompt": [negative] * 2, "audio_end_in_s": 0.125}
    assert distance(pipe, peer, monkeypatch, own, their) < 1e-4


def test_no_guidance(
    pipe: Pipeline, peer: StableAudioPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = pipe.replace(guidance="none")
    assert distance(plain, peer, monkeypatch, their={"guidance_scale": 1.0}) < 1e-4


@pytest.mark.parametrize(
    "config", [{"solver_type": "heun"}, {"sigma_schedule": "karras", "rho": 5.0, "sigma_max": 80}]
)
def test_settings_of_the_scheduler(
    folder: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    file = folder / "scheduler" / "scheduler_config.json"
    kept = file.read_text()
    try:
        file.write_text(json.dumps({**json.loads(kept), **config}))
        pipe = Pipeline.from_pretrained(folder)
        peer = stable_audio_peer(folder)
    finally:
        file.write_text(kept)
    assert distance(pipe, peer, monkeypatch) < 1e-4


def test_points_are_those_of_diffusers(pipe: Pipeline, peer: StableAudioPipeline) -> None:
    for steps in (2, 100):
        peer.scheduler.set_timesteps(steps)
        grid = pipe.composition.grid(steps)
        expected = peer.scheduler.sigmas.tolist()
        assert [p.ratio for p in grid] == pytest.approx(expected, rel=1e-5)


def test_words_are_heard(pipe: Pipeline) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent", **SHORT}
    assert apart(pipe("a blue circle", **call).images, pipe("a red star", **call).images) > 1e-3


def test_a_sound_depends_on_its_own_prompt_length_and_seed(pipe: Pipeline) -> None:
    inputs = {
        "prompt": [*PROMPTS, "", "the green background, the red star, the blue circle"],
        "seconds_start": [0.0, 0.0, 1.5, 0.0],
        "seconds_total": [0.1, None, 3.0, 200.0],
    }
    assert alone(pipe, inputs, **SHORT) < 1e-5


def test_the_posterior_is_that_of_diffusers(pipe: Pipeline, peer: StableAudioPipeline) -> None:
    wave = torch.rand(1, 2, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    posterior = peer.vae.encode(wave).latent_dist
    chosen = pipe.replace(encoder={"name": "oobleck", "sample": False})
    assert apart(chosen.encode(wave, seed=0), posterior.mode()) < 1e-5
    noise = pipe.noise([0], SHORT)()
    assert apart(pipe.encode(wave, seed=0), posterior.mean + posterior.std * noise) < 1e-5


def test_a_sound_goes_on_from_another(pipe: Pipeline) -> None:
    """With no way to walk it is the sound as the autoencoder has it, and what is not made anew
    stays so."""
    wave = np.random.default_rng(0).uniform(-1, 1, (2, 128)).astype(np.float32)
    start = pipe.replace(
        conditioning=["text", "duration", "audio"], encoder={"name": "oobleck", "sample": False}
    )
    call: dict[str, Any] = {"audio": wave, "seed": 1, "output_type": "latent", **SHORT}
    latents = start.encode(torch.from_numpy(wave)[None], seed=0)
    same = start("a red star", strength=0.0, num_inference_steps=4, **call).images
    assert apart(same, latents) < 1e-6
    part = start("a red star", repaint="0.08-0.16", num_inference_steps=4, **call).images
    assert apart(part[..., :8], latents[..., :8]) < 1e-6
    assert apart(part[..., 8:], latents[..., 8:]) > 0.1


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp_2m", "heun", "ddim", "unipc", "lcm"])
def test_ordinary_schedulers_run_on_it(pipe: Pipeline, scheduler: str) -> None:
    made = pipe.replace(scheduler=scheduler)(
        "a red star", seed=1, num_inference_steps=3, output_type="latent", **SHORT
    ).images
    assert made.isfinite().all()
    assert 0.01 < made.std() < 50


def test_chunked_attention_gives_the_same(pipe: Pipeline) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent", **SHORT}
    chunked = pipe.replace(attention={"name": "chunked", "query_chunk": 5, "key_chunk": 4})
    assert apart(chunked("a red star", **call).images, pipe("a red star", **call).images) < 1e-5


@pytest.mark.parametrize("converter", ["vae_slicing", "sequential_offload", "model_offload"])
def test_its_autoencoder_can_be_copied_and_brought_elsewhere(
    pipe: Pipeline, converter: str
) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "pt", **SHORT}
    made = pipe.replace(converters=[converter])("a red star", **call).images
    assert apart(made, pipe("a red star", **call).images) < 1e-6


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer/config.json", {"in_channels": 8}, "takes 8 channels and returns 4"),
        ("transformer/config.json", {"cross_attention_input_dim": 8}, "gives 24, and so 48"),
        ("projection_model/config.json", {"text_encoder_dim": 8}, "width 8, and T5 gives 16"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 10**30}, "model_max_length"),
        ("scheduler/scheduler_config.json", {"sigma_data": 0.5}, "sigma_data 0.5"),
        ("scheduler/scheduler_config.json", {"sigma_schedule": "cosine"}, "'cosine'"),
        ("scheduler/scheduler_config.json", {"sigma_min": 600}, "sigma_min < sigma_max"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    folder: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    with altered(folder / file, changes), pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"samples": 100}, "a multiple of 8"),
        ({"samples": 200}, "samples should be at most 192"),
        ({"seconds_start": -1.0}, "at least 0, not -1"),
        ({"seconds_start": 2.0, "seconds_total": 1.0}, "beyond seconds_start, 2, not 1"),
        ({"seconds_total": 513.0}, "from 0 to 512 seconds, not 513"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(
    pipe: Pipeline, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        pipe("a red star", seed=1, **inputs)
