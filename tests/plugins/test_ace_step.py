"""The ACE-Step family: Diffusers' own music from the same folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diffusers import AceStepPipeline

import tiny
from altered import altered
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.plugins.registry import installed
from peers import apart
from video_peers import alone

LENGTH = {"samples": 168}  # an odd number of places
SUNG = {"lyrics": "[verse]\na red star", "vocal_language": "de", "bpm": 120, "keyscale": "C major"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_ace_step(tmp_path_factory.mktemp("ace_step"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def peer(folder: Path) -> AceStepPipeline:
    return AceStepPipeline.from_pretrained(folder)


def distance(
    pipe: Pipeline,
    peer: Any,
    own: dict[str, Any] | None = None,
    their: dict[str, Any] | None = None,
) -> float:
    """Relative distance to Diffusers in latents and samples, whichever is larger, of a sound by
    itself: in a batch, Diffusers attends to the padding of the shorter texts."""
    peer.set_progress_bar_config(disable=True)
    noise = pipe.noise([3], LENGTH)().transpose(1, 2)
    distances = []
    for output_type in ("latent", "np"):
        expected = peer(
            "a red star",
            latents=noise,
            audio_duration=2.1,
            output_type=output_type,
            **(their or {}),
        ).audios
        made = pipe("a red star", seed=3, output_type=output_type, **LENGTH, **(own or {})).images
        if output_type == "latent":
            expected = expected.transpose(1, 2)
        distances.append(apart(made, expected))
    return max(distances)


def test_nothing_chosen_gives_what_diffusers_gives(pipe: Pipeline, peer: AceStepPipeline) -> None:
    assert pipe.recipe["num_inference_steps"] == 8
    assert pipe.recipe["guidance"]["name"] == "adaptive_projected"
    info = pipe.model.info
    assert (info.default_extent, info.rate, info.audio_channels) == ({"samples": 4800}, 80.0, 2)
    assert distance(pipe, peer) < 1e-4


def test_what_is_sung(pipe: Pipeline, peer: AceStepPipeline) -> None:
    said = {**SUNG, "timesignature": "3"}
    assert distance(pipe, peer, said, said) < 1e-4


def test_no_guidance(pipe: Pipeline, peer: AceStepPipeline) -> None:
    plain = pipe.replace(guidance="none")
    assert distance(plain, peer, their={"guidance_scale": 1.0}) < 1e-4


def test_scale_shift_and_interval(pipe: Pipeline, peer: AceStepPipeline) -> None:
    """Guidance acts from t = 0.8 down to 0.3, which are sigma/alpha 4 and 3/7."""
    chosen = pipe.replace(
        guidance={"scale": 3.0, "low": 3 / 7, "high": 4.0}, spacing={"shift": 1.5}
    )
    their = {
        "guidance_scale": 3.0,
        "shift": 1.5,
        "cfg_interval_start": 0.2,
        "cfg_interval_end": 0.7,
    }
    assert distance(chosen, peer, their=their) < 1e-4


def test_a_turbo_model_is_not_guided(tmp_path: Path) -> None:
    folder = tiny.write_ace_step(tmp_path, turbo=True)
    pipe, peer = Pipeline.from_pretrained(folder), AceStepPipeline.from_pretrained(folder)
    assert pipe.recipe["guidance"] == {"name": "none"}
    assert distance(pipe, peer) < 1e-4


def test_words_are_heard(pipe: Pipeline) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent", **LENGTH}
    assert apart(pipe("a blue circle", **call).images, pipe("a red star", **call).images) > 1e-3


def test_music_depends_on_what_is_said_of_it_and_its_seed(pipe: Pipeline) -> None:
    inputs = {
        "prompt": ["a red star", "", "a blue circle on the green background", "a red star"],
        "lyrics": ["", "[verse]\nred", "", "[chorus]\nblue and green"],
        "bpm": [None, 90, 120, None],
    }
    assert alone(pipe, inputs, **LENGTH) < 1e-5


def test_what_is_told_of_the_length_is_in_seconds(pipe: Pipeline) -> None:
    """Only the whole seconds are told: between two of them, only the sound gets longer."""
    ability = pipe.model.abilities["song"]
    song = ability_song("a red star")
    states = [ability.encode(song, seconds, 8)["song"] for seconds in (2.0, 2.9, 3.0)]
    assert apart(states[0], states[1]) == 0
    assert apart(states[0], states[2]) > 1e-3


def ability_song(prompt: str) -> Any:
    from ldm_core.contracts.sound_abilities import Song

    return Song(prompt, "", "en", None, "", "")


def test_words_beyond_the_window_are_told_of(pipe: Pipeline) -> None:
    with pytest.warns(LdmWarning, match="the network takes 256 of it"):
        pipe("a red star, " * 100, seed=1, num_inference_steps=1, **LENGTH)


@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "heun", "ddim", "unipc", "lcm"])
def test_ordinary_schedulers_run_on_it(pipe: Pipeline, scheduler: str) -> None:
    made = pipe.replace(scheduler=scheduler)(
        "a red star", seed=1, num_inference_steps=3, output_type="latent", **LENGTH
    ).images
    assert made.isfinite().all()
    assert 0.01 < made.std() < 50


def test_chunked_attention_gives_the_same(pipe: Pipeline) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent", **LENGTH}
    chunked = pipe.replace(attention={"name": "chunked", "query_chunk": 5, "key_chunk": 4})
    assert apart(chunked("a red star", **call).images, pipe("a red star", **call).images) < 1e-5


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer/config.json", {"in_channels": 8}, "takes 8 channels and returns 4"),
        ("transformer/config.json", {"encoder_hidden_size": 8}, "width 8, and the condition enc"),
        ("condition_encoder/config.json", {"timbre_hidden_dim": 8}, "sounds of 8 channels"),
        ("condition_encoder/config.json", {"text_hidden_dim": 8}, "width 8, and the text enc"),
        ("scheduler/scheduler_config.json", {"shift": 3.0}, "1 training timestep and the shift"),
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
        ({"bpm": 0}, "a whole number"),
        ({"lyrics": 3}, "text"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(
    pipe: Pipeline, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        pipe("a red star", seed=1, **inputs)
