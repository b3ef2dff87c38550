"""The second stage of LTX-2: Diffusers' own latents, frames and samples from the same folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LTX2ImageToVideoPipeline, LTX2LatentUpsamplePipeline, LTX2Pipeline
from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel
from diffusers.pipelines.ltx2.utils import STAGE_2_DISTILLED_SIGMA_VALUES
from PIL import Image, ImageOps

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.media.video_files import read_video
from ldm_plugins.shared.video_and_sound import Both, VideoAndSound
from peers import apart
from video_peers import PROMPTS, alone

SMALL: dict[str, Any] = {"frames": 9, "height": 32, "width": 32}
LARGE: dict[str, Any] = {"frames": 9, "height": 64, "width": 64}
TIMES = [909.375, 725.0, 421.875]
SEEDS = [3, 4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_ltx_2(tmp_path_factory.mktemp("ltx2"))


@pytest.fixture(scope="module")
def upsampler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_latent_upsampler(tmp_path_factory.mktemp("upsampler"))


def stage_two(upsampler: Path) -> dict[str, Any]:
    return {
        "conditioning": ["text", {"name": "upsampled_latents", "upsampler": str(upsampler)}],
        "guidance": "none",
        "spacing": {"name": "explicit", "timesteps": TIMES},
        "num_inference_steps": 3,
    }


@pytest.fixture(scope="module")
def stages(folder: Path, upsampler: Path) -> tuple[Pipeline, Pipeline]:
    first = Pipeline.from_pretrained(folder, guidance="none", num_inference_steps=2)
    return first, first.replace(**stage_two(upsampler))


def raw(pipe: Pipeline, both: Both) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of video and sound as the autoencoders have them."""
    video, sound = (pipe.model.parts[name].module for name in ("vae", "audio_vae"))
    std, mean = (n.view(1, -1, 1, 1, 1) for n in (video.latents_std, video.latents_mean))
    packed = both.sound.transpose(1, 2).flatten(2) * sound.latents_std + sound.latents_mean
    return both.video * std + mean, packed.unflatten(2, (both.sound.shape[1], -1)).transpose(1, 2)


def noisy_picture(side: int) -> Image.Image:
    noise = torch.Generator().manual_seed(side)
    pixels = torch.randint(256, (side, side, 3), generator=noise).to(torch.uint8)
    return Image.fromarray(pixels.numpy())


def begun(peer: Any, video: torch.Tensor, image: Image.Image | None = None) -> torch.Tensor:
    """Latents of a video that begins with a picture, as the autoencoder has them."""
    if image is None:
        return video
    pixels = peer.video_processor.preprocess(image).unsqueeze(2)
    with torch.no_grad():
        frame = peer.vae.encode(pixels).latent_dist.mode()
    return torch.cat([frame.expand(len(video), -1, -1, -1, -1), video[:, :, 1:]], dim=2)


@pytest.mark.parametrize("picture", [False, True], ids=["text", "picture"])
def test_both_stages_give_what_diffusers_gives(
    folder: Path, upsampler: Path, stages: tuple[Pipeline, Pipeline], picture: bool
) -> None:
    """Its second stage adds the noise, whose numbers we hand it within its latents; the distilled
    sigmas are its own. A picture is shown in each stage's size, as the authors do: Diffusers draws
    with what its latents begin with."""
    first, second = stages
    shown: dict[int, dict[str, Any]] = {32: {}, 64: {}}
    seen: dict[int, dict[str, Any]] = {32: {}, 64: {}}
    if picture:
        frame = {"name": "first_frame", "crf": 0}
        first, second = (
            pipe.replace(conditioning=[*pipe.recipe["conditioning"], frame]) for pipe in stages
        )
        for side in shown:
            shown[side] = {"first_frame": noisy_picture(side)}
            seen[side] = {"image": noisy_picture(side)}
    space = first.model.info.latents
    assert isinstance(space, VideoAndSound)
    cls = LTX2ImageToVideoPipeline if picture else LTX2Pipeline
    peer = cls.from_pretrained(folder)
    enlarger = LTX2LatentUpsamplePipeline(
        vae=peer.vae, latent_upsampler=LTX2LatentUpsamplerModel.from_pretrained(upsampler)
    )
    peer.set_progress_bar_config(disable=True)
    plain: dict[str, Any] = {
        "prompt": list(PROMPTS), "num_frames": 9, "guidance_scale": 1.0,
        "audio_guidance_scale": 1.0, "stg_scale": 0.0, "audio_stg_scale": 0.0,
        "modality_scale": 1.0, "audio_modality_scale": 1.0,
    }  # fmt: skip
    video, sound = raw(first, space.split(first.noise(SEEDS, SMALL)()))
    theirs = peer(
        **plain, height=32, width=32, num_inference_steps=2,
        latents=begun(peer, video, **seen[32]), audio_latents=sound, output_type="latent",
        **seen[32],
    )  # fmt: skip
    small = first(list(PROMPTS), seed=SEEDS, output_type="latent", **SMALL, **shown[32]).images
    mine = raw(first, space.split(small))
    assert apart(mine[0], theirs.frames) < 1e-5
    large = enlarger(
        latents=theirs.frames, height=32, width=32, num_frames=9, output_type="latent"
    ).frames
    sigma = STAGE_2_DISTILLED_SIGMA_VALUES[0]
    noises = raw(first, space.split(second.noise(SEEDS, LARGE)()))
    # what is normalised is linear, so that noise may be added before it
    video, sound = (
        (1 - sigma) * clean + sigma * noise
        for clean, noise in zip((large, theirs.audio), noises, strict=True)
    )
    peer.scheduler = type(peer.scheduler).from_config(
        peer.scheduler.config, use_dynamic_shifting=False, shift_terminal=None
    )
    for output_type in ("latent", "np"):
        expected = peer(
            **plain, height=64, width=64, num_inference_steps=3,
            latents=begun(peer, video, **seen[64]), audio_latents=sound,
            sigmas=STAGE_2_DISTILLED_SIGMA_VALUES, output_type=output_type, **seen[64],
        )  # fmt: skip
        made = second(
            list(PROMPTS), small_latents=list(small), seed=SEEDS, output_type=output_type,
            frame_rate=24, **LARGE, **shown[64],
        )  # fmt: skip
        if output_type == "latent":
            frames, heard = raw(second, space.split(made.images))
        else:
            frames, heard = made.images, made.beside[0].images
        assert apart(frames, expected.frames) < 1e-5
        assert apart(heard, expected.audio) < 1e-5


def test_a_video_depends_on_its_own_start_prompt_and_seed(
    stages: tuple[Pipeline, Pipeline],
) -> None:
    first, second = stages
    prompts = [*PROMPTS, "", "the star and the circle"]
    small = first(prompts, seed=7, output_type="latent", **SMALL).images
    inputs = {"prompt": prompts, "small_latents": [*small]}
    assert alone(second, inputs, num_inference_steps=3, frame_rate=24, **LARGE) < 1e-5


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"in_channels": 8}, "is for latents of 8 channels"),
        ({"temporal_upsample": True, "spatial_upsample": False}, "makes more frames"),
    ],
)
def test_an_upsampler_that_does_not_fit_is_refused(
    folder: Path, tmp_path: Path, config: dict[str, Any], why: str
) -> None:
    other = tiny.write_latent_upsampler(tmp_path, **config)
    with pytest.raises(LdmError, match=why):
        compose({"model": str(folder), **stage_two(other)})


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"height": 24}, "it should be a multiple of 16"),
        ({"small_latents": torch.zeros(4, 5, 4, 9)}, "of one image should have the shape"),
    ],
)
def test_latents_that_do_not_become_what_is_made_are_refused(
    folder: Path, upsampler: Path, inputs: dict[str, Any], why: str
) -> None:
    made = compose({"model": str(folder), **stage_two(upsampler)})
    extent = {**LARGE, **{k: v for k, v in inputs.items() if k in LARGE}}
    values = {"prompt": "a star", "small_latents": inputs.get("small_latents", torch.zeros(1))}
    with pytest.raises(LdmError, match=why):
        made.plan(values, [1], extent, frame_rate=24.0)
    with pytest.raises(LdmError, match="follow the frame rate of the first stage"):
        made.plan(values, [1], LARGE)


def test_another_model_has_no_second_stage(tmp_path: Path, upsampler: Path) -> None:
    folder = tiny.write_ltx_video(tmp_path)
    with pytest.raises(LdmError, match="has no second stage"):
        compose({"model": str(folder), **stage_two(upsampler)})


def test_the_command_does_both_and_does_it_again(
    ldm: Any, stages: tuple[Pipeline, Pipeline], folder: Path, upsampler: Path, tmp_path: Path
) -> None:
    """From a picture of another shape, which each stage sees at its own size."""
    picture = noisy_picture(50).resize((50, 40))
    picture.save(tmp_path / "frame.png")
    words: list[Any] = [
        "a red star",
        "--first-frame",
        tmp_path / "frame.png",
        "--model",
        folder,
        "--upsampler",
        upsampler,
        "--seed",
        3,
    ]
    words += ["--steps", 2, "--guidance", "none", "--frames", 9, "--format", "mkv"]
    code, _, err = ldm("two-stages", *words, "--size", "64x64", "--out", tmp_path / "made")
    assert code == 0, err
    av = pytest.importorskip("av")
    (file,) = (tmp_path / "made").glob("*.mkv")
    first, second = (
        pipe.replace(conditioning=[*pipe.recipe["conditioning"], "first_frame"]) for pipe in stages
    )
    shown = [ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS) for side in (32, 64)]
    small = first("a red star", seed=3, first_frame=shown[0], output_type="latent", **SMALL).images
    call = {
        "small_latents": list(small),
        "first_frame": shown[1],
        "output_type": "np",
        "frame_rate": 24,
    }
    made = second("a red star", seed=3, **call, **LARGE)
    frames = [np.asarray(frame, np.float32) for frame in read_video(file).frames]
    assert np.abs(np.stack(frames) - 255 * made.images[0]).max() <= 1
    (sound,) = made.beside
    with av.open(file) as opened:
        (video,), (heard,) = opened.streams.video, opened.streams.audio
        told = (video.average_rate, video.width, video.height, heard.rate, heard.channels)
        shown = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video)]
        opened.seek(0)
        samples = np.concatenate([part.to_ndarray().T.reshape(-1) for part in opened.decode(heard)])
    assert told == (24, 64, 64, sound.rate, sound.images[0].shape[0])
    assert np.array_equal(np.stack(shown), np.stack([frame.astype(np.uint8) for frame in frames]))
    assert np.abs(samples.reshape(-1, heard.channels) - sound.images[0].T).max() < 1e-6
    code, out, err = ldm("replay", file, "--allow-files", "--out", tmp_path / "again")
    assert (code, "frame for frame" in out + err) == (0, True), out + err
    assert "differs" not in out + err
    config = upsampler / "config.json"
    as_it_was = config.read_text(encoding="utf-8")
    config.write_text(f"{as_it_was}\n", encoding="utf-8")
    code, out, err = ldm("replay", file, "--allow-files", "--out", tmp_path / "after")
    config.write_text(as_it_was, encoding="utf-8")
    assert code == 0, err
    assert f"{upsampler}, from which the picture was made, is not that of then" in out + err
    code, _, err = ldm("two-stages", *words, "--size", "72x64", "--out", tmp_path / "not")
    assert code == 2
    assert "in two stages the width should be a multiple of 16, not 72" in err
