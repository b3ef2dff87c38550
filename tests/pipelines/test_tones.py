"""The `tones` world, its judge, its autoencoder and its training; the judge on sounds that SciPy
makes and the world does not."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import chirp, square

from ldm_core import Pipeline
from ldm_core.errors import LdmError
from ldm_pipelines.tones import checker, lapped, training
from ldm_pipelines.tones.captions import RATE, SAMPLES, Sound, sounds
from ldm_pipelines.tones.checker import Hearing, hear
from ldm_pipelines.tones.world import draw_sound

T = np.arange(SAMPLES) / RATE
END = SAMPLES / RATE


def gated(wave: np.ndarray, *times: tuple[float, float]) -> np.ndarray:
    """The wave where it is on, without soft edges."""
    return wave * sum((begin <= T) & (end > T) for begin, end in times)


def swept(first: float, last: float, method: str = "linear") -> np.ndarray:
    return np.asarray(0.3 * chirp(T, first, END, last, method=method, phi=37))


HEARD = {
    "chirp up": (swept(220, 1400), Hearing("rising", 1)),
    "chirp down, in octaves": (swept(1100, 280, "logarithmic"), Hearing("falling", 1)),
    "square wave": (0.2 * square(2 * np.pi * 230 * T), Hearing("low", 1)),
    "two of 0.3 s": (gated(swept(520, 520), (0.1, 0.4), (0.6, 0.9)), Hearing("middle", 2)),
    "three of 0.2 s": (gated(swept(1400, 1400), (0, 0.2), (0.4, 0.6), (0.8, 1)),
                       Hearing("high", 3)),
    "uniform noise": (np.random.default_rng(0).uniform(-0.4, 0.4, SAMPLES), Hearing("noise", 1)),
    "up and down again": (0.3 * chirp(np.abs(T - END / 2), 250, END / 2, 1400), Hearing(None, 1)),
    "half an octave up": (swept(450, 640), Hearing(None, 1)),
    "two tones at once": (swept(250, 250) + swept(1250, 1250), Hearing(None, 1)),
    "above all words": (swept(3000, 3000), Hearing(None, 1)),
    "hardly anything": (0.01 * swept(250, 250), Hearing(None, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", HEARD)
def test_the_checker_hears_what_scipy_makes(name: str) -> None:
    wave, hearing = HEARD[name]
    assert hear(wave) == hearing
    noise = np.random.default_rng(1).normal(0, 0.02 * (hearing.times > 0), SAMPLES)
    assert hear((wave + noise).astype(np.float32)) == hearing


def test_the_checker_shares_no_code_with_the_drawing() -> None:
    tree = ast.parse(Path(checker.__file__).read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in names if name and "ldm_pipelines" in name} == {
        "ldm_pipelines.tones.captions"
    }
    with pytest.raises(LdmError, match=r"must have shape \(8192,\), not \(8000,\)"):
        hear(np.zeros(8000))


def test_the_world_draws_what_its_captions_say() -> None:
    """Also behind the autoencoder, which keeps of it what lies below 2 kHz."""
    rng = np.random.default_rng(4)
    every = sounds() * 4
    drawn = np.stack([draw_sound(sound, rng) for sound in every])
    with torch.no_grad():
        decoder = lapped.build_autoencoder(RATE).decoder
        kept = decoder(lapped.to_latents(torch.from_numpy(drawn[8:12])))[:, 0].numpy()
    for sound, wave in [*zip(every, drawn, strict=True), *zip(every[8:12], kept, strict=True)]:
        assert Sound.from_caption(sound.caption) == sound
        assert all(hear(wave).agrees(sound).values()), sound.caption
    assert len({sound.caption for sound in every}) == 12
    assert np.abs(drawn).max() <= 1
    with pytest.raises(LdmError, match="'a loud tone' is not worded like"):
        Sound.from_caption("a loud tone")


@torch.no_grad()
def test_the_autoencoder_is_an_orthonormal_transform() -> None:
    """Its encoder is the product, and its decoder, which is that turned round, undoes it: of what
    lies in the latents all comes back, of white noise the half below 2 kHz."""
    generator = torch.Generator().manual_seed(0)
    vae = lapped.build_autoencoder(RATE)
    noise = torch.randn(1, SAMPLES, generator=generator)
    spread = vae.encode(noise[:, None]).latent_dist
    assert torch.allclose(spread.mean, lapped.to_latents(noise), atol=1e-4)
    assert spread.std.max() < 2e-4
    back = vae.decode(spread.mean).sample[:, 0]
    power = torch.fft.rfft(torch.stack([noise, back])[..., 1024:-1024]).abs().square()
    below, above = power[:, :, :1440].sum((1, 2)), power[:, :, 1632:].sum((1, 2))
    assert below[1] / below[0] == pytest.approx(1, abs=1e-3)
    assert above[1] / above[0] < 1e-3
    latents = torch.randn(1, 64, 20, generator=generator)
    again = lapped.to_latents(vae.decode(latents).sample[:, 0])
    inner = slice(1, -1)  # half a step of the first and last lies outside
    assert torch.allclose(again[..., inner], latents[..., inner], atol=1e-4)


def test_a_training_writes_what_is_played(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"out": tmp_path, "steps": 2, "batch_size": 2}
    training.train(training.TonesSettings(**settings))
    pipe = Pipeline.from_pretrained(tmp_path / "model")
    info = pipe.model.info
    assert (info.default_extent, info.rate, info.audio_channels) == ({"samples": 8192}, 8000.0, 1)
    made = pipe("a low tone", seed=1, num_inference_steps=2, output_type="np").images
    assert made.shape == (1, 1, 8192)
    assert np.isfinite(made).all()


def test_the_loss_is_least_where_the_network_says_what_stable_audio_means() -> None:
    """Of a network that answers v = alpha·noise - sigma·x0 the loss is nothing; x is what
    Diffusers' scheduler would hand it: (x0 + sigma·noise) / (1 + sigma²)^½ at 2·atan(sigma)/π."""

    def words(captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(len(captions), 6).long(), torch.ones(len(captions), 6)

    batch = training.Sounds(training.TonesSettings(out=Path("x"), batch_size=16), words)
    x, target, sigma, *_ = batch(3)
    assert torch.equal(batch(3)[0], x)
    assert not torch.equal(batch(4)[0], x)
    level = (1 + sigma**2).sqrt()[:, None, None]
    x0 = (x - sigma[:, None, None] * target) / level
    noise = (sigma[:, None, None] * x + target) / level
    assert torch.allclose(x, (x0 + sigma[:, None, None] * noise) / level, atol=1e-4)
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    silent = x0[:, :, 0].abs().amax(1)  # each begins with 0.03 s of silence
    assert float((silent / (sigma + 1)).max()) < 1e-4
    assert float(x0.square().mean()) == pytest.approx(1, abs=0.5)
