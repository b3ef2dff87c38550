"""The Stable Audio 3 family: Diffusers' own sounds from the same folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    StableAudio3AudioToAudioPipeline,
    StableAudio3InpaintPipeline,
    StableAudio3Pipeline,
)
from diffusers.pipelines.stable_audio_3 import pipeline_stable_audio_3_audio2audio as from_sound
from diffusers.schedulers import scheduling_flow_match_euler_discrete as theirs

import tiny
from altered import altered
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.plugins.registry import installed
from peers import apart
from video_peers import PROMPTS, alone

SEEDS = [3, 4]
SHORT = {"samples": 128}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_stable_audio_3(tmp_path_factory.mktemp("stable_audio_3"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


def distance(
    pipe: Pipeline,
    peer: Any,
    patch: pytest.MonkeyPatch,
    own: dict[str, Any] | None = None,
    their: dict[str, Any] | None = None,
    samples: int = 128,
    steps: int | None = 4,
) -> float:
    """Relative distance to Diffusers in latents and samples, whichever is larger; its scheduler
    gets the noise that ours draws. The last bit of the time that the network is told, which is
    rounded otherwise there, is a thousandth of a turn of the fastest of the network's waves."""
    peer.set_progress_bar_config(disable=True)
    noise = pipe.noise(SEEDS, {"samples": samples})
    started = noise()
    patch.setattr(theirs, "randn_tensor", lambda *_, **__: noise())
    latents = peer(
        list(PROMPTS), duration=samples / 800, latents=started, output_type="latent",
        num_inference_steps=steps, **(their or {}),
    ).audios  # fmt: skip
    with torch.no_grad():
        wave = peer.vae.decode(latents).sample  # before it is cut off at 1, as ours is in a file
    call: dict[str, Any] = {"seed": SEEDS, "samples": samples, "num_inference_steps": steps}
    distances = []
    for output_type, expected in (("latent", latents), ("np", wave)):
        made = pipe(list(PROMPTS), output_type=output_type, **call, **(own or {})).images
        distances.append(apart(made, expected))
    return max(distances)


def test_nothing_chosen_gives_what_diffusers_gives(
    pipe: Pipeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = pipe.model.info
    assert (info.default_extent, info.rate, info.audio_channels) == ({"samples": 8000}, 800.0, 2)
    assert pipe.recipe["num_inference_steps"] == 8
    assert pipe.recipe["guidance"]["name"] == "none"
    peer = StableAudio3Pipeline.from_pretrained(folder)
    assert distance(pipe, peer, monkeypatch, steps=None) < 1e-4


def test_one_that_is_not_distilled_with_guidance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"stochastic_sampling": False, "shift": 2.0}
    folder = tiny.write_stable_audio_3(tmp_path, scheduler=config)
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["num_inference_steps"] == 100
    assert pipe.recipe["scheduler"]["name"] == "euler"
    peer = StableAudio3Pipeline.from_pretrained(folder)
    guided = pipe.replace(guidance={"name": "classifier_free", "scale": 3.0})
    negative = "the green background, a red star"
    own, their = {"negative_prompt": negative}, {"negative_prompt": negative, "guidance_scale": 3.0}
    assert distance(guided, peer, monkeypatch, own, their) < 1e-4


def test_a_sound_depends_on_its_own_prompt_length_and_seed(pipe: Pipeline) -> None:
    inputs = {
        "prompt": [*PROMPTS, "", "the green background, the red star, the blue circle"],
        "seconds_total": [0.1, None, 3.0, 200.0],
    }
    assert alone(pipe, inputs, **SHORT) < 1e-5


def test_a_sound_goes_on_from_another(pipe: Pipeline) -> None:
    wave = np.random.default_rng(0).uniform(-1, 1, (2, 128)).astype(np.float32)
    start = pipe.replace(conditioning=["text", "duration", "audio"])
    latents = start.encode(torch.from_numpy(wave)[None], seed=0)
    expected = pipe.model.parts["vae"].module.encode(torch.from_numpy(wave)[None]).latents
    assert apart(latents, expected.detach()) < 1e-6
    call: dict[str, Any] = {"audio": wave, "seed": 1, "output_type": "latent", **SHORT}
    same = start("a red star", strength=0.0, num_inference_steps=4, **call).images
    assert apart(same, latents) < 1e-6
    with pytest.warns(
        LdmWarning, match=r"has nothing of the sound\. To begin from it, at most 0\.5"
    ):
        start("a red star", strength=0.9, num_inference_steps=2, **call)


WAVE = np.random.default_rng(0).uniform(-1, 1, (2, 128)).astype(np.float32)


@pytest.fixture(scope="module")
def start(pipe: Pipeline) -> Pipeline:
    return pipe.replace(conditioning=["text", "duration", "audio"])


@pytest.fixture
def from_both(start: Pipeline, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is made here and there of a sound, by a strength."""
    peer = StableAudio3AudioToAudioPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)

    def both(strength: float, output_type: str = "latent") -> tuple[Any, torch.Tensor]:
        call: dict[str, Any] = {"num_inference_steps": 8, "output_type": "latent"}
        noise = start.noise([3], SHORT)
        first = noise()
        monkeypatch.setattr(theirs, "randn_tensor", lambda *_, **__: noise())
        their = {"audio": torch.from_numpy(WAVE)[None], "init_noise_level": strength}
        expected = peer(PROMPTS[0], duration=0.16, latents=first, **their, **call).audios
        if output_type == "np":
            with torch.no_grad():
                expected = peer.vae.decode(expected).sample
        own = {"audio": WAVE, "strength": strength, "seed": 3, **SHORT}
        return start(PROMPTS[0], **own, **{**call, "output_type": output_type}).images, expected

    return both


def test_from_a_sound_all_of_the_way_is_that_of_diffusers(from_both: Any) -> None:
    assert apart(*from_both(1.0)) < 1e-4
    assert apart(*from_both(1.0, "np")) < 1e-4


def test_the_rest_of_a_sound_is_heard_as_in_diffusers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same folder of the class that asks for a sound."""
    index = folder / "model_index.json"
    kept = index.read_text()
    try:
        index.write_text(kept.replace('"StableAudio3Pipeline"', '"StableAudio3InpaintPipeline"'))
        pipe = Pipeline.from_pretrained(folder)
        peer = StableAudio3InpaintPipeline.from_pretrained(folder)
    finally:
        index.write_text(kept)
    assert [one["name"] for one in pipe.recipe["conditioning"]][2] == "masked_audio"
    own = {"audio": [WAVE, WAVE[::-1].copy()], "repaint": "0.05-0.11"}
    waves = torch.stack([torch.from_numpy(wave) for wave in own["audio"]])
    their = {"audio": waves, "mask_start_seconds": 0.05, "mask_end_seconds": 0.11}
    assert distance(pipe, peer, monkeypatch, own, their) < 1e-4
    call: dict[str, Any] = {"seed": 3, "num_inference_steps": 2, "output_type": "latent", **SHORT}
    heard = [pipe("a red star", audio=wave, repaint="0.05-0.11", **call) for wave in own["audio"]]
    assert (heard[0].images - heard[1].images).norm() > 1e-3 * heard[0].images.norm()
    four = {"prompt": [*PROMPTS] * 2, "audio": own["audio"] * 2, "repaint": ["0-0.1", None] * 2}
    assert alone(pipe, four, **SHORT) < 1e-5
    with pytest.raises(LdmError, match=r"less than one place of this model's latents, 0\.02 sec"):
        pipe("a red star", audio=WAVE, repaint="0.05-0.055", **call)


def test_from_a_sound_diffusers_goes_up_after_its_start(start: Pipeline, from_both: Any) -> None:
    """Of its sigmas the first alone is set to the strength; ours go down from it."""
    sigmas = from_sound.logsnr_sigma_schedule(8, -6.2, 2.0, sigma_max=0.5)
    assert sigmas[0] == 0.5
    assert sigmas[1] > 0.8
    asked = {"prompt": PROMPTS[0], "audio": WAVE, "strength": 0.5}
    points = [p.t for p in start.composition.plan(asked, [3], SHORT, 8).grid]
    assert points == sorted(points, reverse=True)
    assert apart(*from_both(0.5)) > 0.1


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer/config.json", {"io_channels": 8}, "takes 8 channels and the autoencoder"),
        ("transformer/config.json", {"cond_token_dim": 8}, "width 8, and T5Gemma gives 16"),
        ("duration_embedder/config.json", {"output_dim": 8}, "the duration_embedder gives 8"),
        ("scheduler/scheduler_config.json", {"use_dynamic_shifting": True}, "use_dynamic_shift"),
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
        ({"samples": 100}, "a multiple of 16"),
        ({"seconds_start": 1.0}, "leave seconds_start out"),
        ({"seconds_total": 400.0}, "sounds of 0 to 384 seconds, not 400"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(
    pipe: Pipeline, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        pipe("a red star", seed=1, **{**SHORT, **inputs})
