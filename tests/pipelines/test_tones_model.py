"""The shipped sound model, as it is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ldm_core import Pipeline
from ldm_core.model.files import size_of
from ldm_pipelines.tones.captions import Sound
from ldm_pipelines.tones.checker import hear
from peers import apart
from sound_peers import draw_ours, stable_audio_peer

SOUNDS = [Sound("low"), Sound("high"), Sound("rising"), Sound("falling"), Sound("middle", 2),
          Sound("noise")]  # fmt: skip
PROMPTS = [sound.caption for sound in SOUNDS]


@pytest.fixture(scope="module")
def tones() -> Pipeline:
    return Pipeline.from_pretrained("tones")


@pytest.fixture(scope="module")
def folder(tones: Pipeline) -> Path:
    return tones.model.info.folder


def test_it_is_small_and_safe(folder: Path) -> None:
    assert size_of(folder) <= 8_000_000
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".txt", ".safetensors", ".md", ".toml"}
    assert (folder / "README.md").is_file()


def test_sounds_are_what_their_prompts_say(tones: Pipeline) -> None:
    """With the model's own steps and guidance; one of each kind, by a judge that never drew."""
    waves = tones(PROMPTS, seed=11, output_type="np").images[:, 0]
    verdicts = [hear(wave).agrees(sound) for wave, sound in zip(waves, SOUNDS, strict=True)]
    assert sum(verdict["pitch"] for verdict in verdicts) >= 5, verdicts
    assert sum(verdict["times"] for verdict in verdicts) >= 5, verdicts


def test_samples_are_those_of_stable_audio_pipeline(
    tones: Pipeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scheduler gets the noise that ours draws, where it would draw from a Brownian tree."""
    peer = stable_audio_peer(folder)
    peer.set_progress_bar_config(disable=True)
    noise = tones.noise([3, 4], {"samples": 8192})
    started = noise()
    draw_ours(monkeypatch, noise)
    call: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 3.0, "output_type": "np"}
    expected = peer(PROMPTS[:2], latents=started, **call).audios
    assert apart(tones(PROMPTS[:2], seed=[3, 4], **call).images, expected) < 1e-4


def test_a_sound_depends_on_its_prompt_and_seed_alone(tones: Pipeline) -> None:
    call: dict[str, Any] = {"num_inference_steps": 3, "output_type": "latent"}
    together = tones(PROMPTS[:3], seed=[1, 2, 3], **call).images
    assert apart(tones(PROMPTS[1], seed=2, **call).images[0], together[1]) < 1e-5


def test_a_file_of_it_is_a_second_at_8_khz_and_is_made_again(ldm: Any) -> None:
    words = ("text-to-audio", "a rising tone", "--model", "tones", "--seed", 3, "--steps", 3)
    for kind in ("flac", "wav"):
        code, out, err = ldm(*words, "--format", kind)
        assert code == 0, err
        samples, rate = soundfile.read(out.strip())
        assert (samples.shape, rate) == ((8192,), 8000)
        code, out, err = ldm("replay", out.strip())
        assert code == 0, err
        assert "the same sound, sample for sample" in out
        assert np.array_equal(soundfile.read(out.split()[0])[0], samples)
