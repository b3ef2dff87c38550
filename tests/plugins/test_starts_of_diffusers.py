"""Starts from pictures, videos and sounds: Diffusers' own pipelines of the same folders.

Where one draws what the autoencoder sees from other noise than ours, both take the mean; where it
draws frames before channels, or from a Brownian tree, it is handed the noise that ours draws.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_oobleck import OobleckDiagonalGaussianDistribution
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.pipelines.animatediff import pipeline_animatediff_video2video as animatediff
from diffusers.pipelines.cogvideo import pipeline_cogvideox_video2video as cogvideox
from PIL import Image

import tiny
from ldm_core import Pipeline
from peers import Unpacked, apart, distance_to_peer
from sound_peers import draw_ours, stable_audio_peer
from video_peers import PROMPTS, picture

TWO = [picture(1, 16, 16), picture(2, 16, 16)]


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Diffusers takes the mean of a posterior where it would draw from it."""

    def mean(self: Any, generator: Any = None) -> torch.Tensor:
        found: torch.Tensor = self.mode()
        return found

    for posterior in (DiagonalGaussianDistribution, OobleckDiagonalGaussianDistribution):
        monkeypatch.setattr(posterior, "sample", mean)


def box(side: int) -> Image.Image:
    """A mask that is white in the middle."""
    mask = Image.new("L", (side, side))
    mask.paste(255, (side // 4, side // 4, side // 2, side // 2))
    return mask


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_kolors_from_a_picture(tmp_path: Path, strength: float) -> None:
    folder = tiny.write_kolors(tmp_path)
    pipe = Pipeline.from_pretrained(folder, conditioning=["text", "size", "image"])
    peer = diffusers.KolorsImg2ImgPipeline.from_pretrained(folder)
    call: dict[str, Any] = {"image": TWO, "strength": strength, "num_inference_steps": 4}
    assert distance_to_peer(pipe, peer, **call) < 1e-5


def sixteen_channels(folder: Path) -> Path:
    """Stable Diffusion 3, whose pipeline repaints no others."""
    tiny.write_stable_diffusion_3(folder, in_channels=16, out_channels=16)
    no: dict[str, Any] = {"use_quant_conv": False, "use_post_quant_conv": False}
    factors = {"scaling_factor": 1.5305, "shift_factor": 0.0609}
    tiny.autoencoder.write_autoencoder(folder, channels=16, **no, **factors)
    return folder


@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize(
    ("write", "peer", "scale"),
    [
        (tiny.write_flux, diffusers.FluxInpaintPipeline, 3.5),
        (sixteen_channels, diffusers.StableDiffusion3InpaintPipeline, 7.0),
    ],
    ids=["flux", "stable diffusion 3"],
)
def test_a_flow_model_repaints(
    tmp_path: Path, write: Any, peer: Any, scale: float, strength: float
) -> None:
    folder = write(tmp_path)
    pipe = Pipeline.from_pretrained(folder, conditioning=["text", "mask"])
    theirs = peer.from_pretrained(folder)
    if peer is diffusers.FluxInpaintPipeline:
        theirs = Unpacked(theirs)
    else:  # it decodes without the shift
        decode, shift = theirs.vae.decode, theirs.vae.config.shift_factor
        theirs.vae.decode = lambda z, **more: decode(z + shift, **more)
    call: dict[str, Any] = {"width": 16, "height": 16, "guidance_scale": scale, "image": TWO}
    call |= {"strength": strength, "num_inference_steps": 3}
    masks = [box(16)] * 2
    assert distance_to_peer(pipe, theirs, {"mask": masks}, {"mask_image": masks}, **call) < 1e-5


@pytest.mark.usefixtures("means")
@pytest.mark.parametrize(
    ("cls", "start"),
    [
        (diffusers.FluxControlNetImg2ImgPipeline, "image"),
        (diffusers.FluxControlNetInpaintPipeline, "mask"),
    ],
)
def test_flux_beside_a_controlnet_from_a_picture(tmp_path: Path, cls: Any, start: str) -> None:
    folder = tiny.write_flux(tmp_path / "model")
    side = tiny.write_transformer_controlnet(tmp_path / "side", folder)
    net = diffusers.FluxControlNetModel.from_pretrained(side)
    peer = Unpacked(cls.from_pretrained(folder, controlnet=net))
    control = {"name": "control", "models": [str(side)]}
    pipe = Pipeline.from_pretrained(folder, conditioning=["text", start, control])
    pipe = pipe.replace(encoder={"sample": False})
    call: dict[str, Any] = {"width": 16, "height": 16, "guidance_scale": 3.5, "image": TWO}
    call |= {"control_image": TWO[::-1], "strength": 0.6, "num_inference_steps": 3}
    masks = [box(16)] * 2 if start == "mask" else None
    own, their = ({"mask": masks}, {"mask_image": masks}) if masks else ({}, {})
    assert distance_to_peer(pipe, peer, own, their, **call) < 1e-5


@pytest.mark.usefixtures("means")
@pytest.mark.parametrize(
    ("write", "peer", "module", "extent"),
    [
        (
            tiny.write_animatediff,
            diffusers.AnimateDiffVideoToVideoPipeline,
            animatediff,
            {"frames": 4, "height": 16, "width": 24},
        ),
        (
            tiny.write_cogvideox,
            diffusers.CogVideoXVideoToVideoPipeline,
            cogvideox,
            {"frames": 9, "height": 16, "width": 32},
        ),
    ],
    ids=["animatediff", "cogvideox"],
)
def test_a_video_from_a_video(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Any,
    peer: Any,
    module: Any,
    extent: dict[str, int],
) -> None:
    folder = write(tmp_path)
    theirs = peer.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    pipe = Pipeline.from_pretrained(folder, conditioning=["text", "video"])
    pipe = pipe.replace(encoder={"sample": False})
    frames = [picture(seed, extent["width"], extent["height"]) for seed in range(extent["frames"])]
    clip = np.stack([np.asarray(frame) for frame in frames])
    noise = pipe.noise([3], extent)().transpose(1, 2)
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: noise)
    sides = {name: extent[name] for name in ("height", "width")}
    call: dict[str, Any] = {"prompt": PROMPTS[0], "num_inference_steps": 4, "strength": 0.5}
    for output_type in ("latent", "np"):
        call["output_type"] = output_type
        expected = theirs(frames, generator=torch.Generator().manual_seed(3), **sides, **call)
        found = torch.as_tensor(pipe(video=clip, seed=3, **extent, **call).images)
        if output_type == "latent" and module is cogvideox:
            found = found.transpose(1, 2)
        assert apart(found, expected.frames) < 1e-5


@pytest.mark.usefixtures("means")
def test_stable_audio_from_a_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a strength of 1, the one that its pipeline has. The noise is then 500 times as loud as the
    sound, of which little is left, and still more than the two are apart."""
    folder = tiny.write_stable_audio(tmp_path)
    peer = stable_audio_peer(folder)
    peer.set_progress_bar_config(disable=True)
    pipe = Pipeline.from_pretrained(folder, conditioning=["text", "duration", "audio"])
    pipe = pipe.replace(encoder={"sample": False})
    extent = pipe.model.info.default_extent
    drawn = np.random.default_rng(0).uniform(-1, 1, (2, extent["samples"]))
    wave = drawn.astype(np.float32)
    their = {
        "initial_audio_waveforms": torch.from_numpy(wave)[None],
        "initial_audio_sampling_rate": peer.vae.sampling_rate,
    }
    for output_type in ("latent", "np"):
        noise = pipe.noise([3], extent)
        first = noise()
        draw_ours(monkeypatch, noise)
        both: dict[str, Any] = {"num_inference_steps": 3, "output_type": output_type}
        expected = peer(PROMPTS[0], latents=first, **their, **both).audios
        found = pipe(PROMPTS[0], audio=wave, strength=1.0, seed=3, **both).images
        assert apart(found[..., : expected.shape[-1]], expected) < 1e-5
    call: dict[str, Any] = {"num_inference_steps": 3, "seed": 3, "output_type": "latent"}
    plain = pipe.replace(conditioning=["text", "duration"])(PROMPTS[0], **call).images
    heard = pipe(PROMPTS[0], audio=wave, strength=1.0, **call).images
    assert (heard - plain).norm() > 5e-5 * plain.norm()


@pytest.mark.usefixtures("means")
def test_stable_audio_from_a_sound_with_less_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start of less noise is a smaller sigma_max there. Its noise is still that of a start from
    noise alone, sqrt(sigma_max² + 1), though the sound has a deviation of its own."""
    folder = tiny.write_stable_audio(tmp_path, scheduler={"sigma_max": 2.0})
    peer = stable_audio_peer(folder)
    peer.set_progress_bar_config(disable=True)
    pipe = Pipeline.from_pretrained(folder, conditioning=["text", "duration", "audio"])
    pipe = pipe.replace(encoder={"sample": False})
    extent = pipe.model.info.default_extent
    wave = np.random.default_rng(0).uniform(-1, 1, (2, extent["samples"])).astype(np.float32)
    call: dict[str, Any] = {"num_inference_steps": 3, "output_type": "latent"}

    def distance() -> float:
        noise = pipe.noise([3], extent)
        first = noise()
        draw_ours(monkeypatch, noise)
        their = {
            "initial_audio_waveforms": torch.from_numpy(wave)[None],
            "initial_audio_sampling_rate": peer.vae.sampling_rate,
        }
        expected = peer(PROMPTS[0], latents=first, **their, **call).audios
        return apart(pipe(PROMPTS[0], audio=wave, strength=1.0, seed=3, **call).images, expected)

    assert distance() > 1e-3
    monkeypatch.setattr(type(peer.scheduler), "init_noise_sigma", 2.0)
    assert distance() < 1e-5
