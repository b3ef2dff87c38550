"""The CogVideoX family: Diffusers' own videos from the same folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    CogVideoXDPMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
)
from diffusers.pipelines.cogvideo import pipeline_cogvideox_image2video
from diffusers.schedulers import scheduling_dpm_cogvideox

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from peers import apart
from video_peers import alone as apart_alone
from video_peers import picture

PROMPTS = ["a red star", "a blue circle on the green background"]
SMALL: dict[str, Any] = {"height": 16, "width": 32}
SEEDS = (3, 4)
FROM_MEAN = {"name": "autoencoder_kl_video", "sample": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_cogvideox(tmp_path_factory.mktemp("cogvideox"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


def to_diffusers(
    ours: Pipeline, folder: Path, peer: Any = None, frames: int = 9, **call: Any
) -> float:
    """Relative distance to Diffusers' pipeline, in the final latents or in the frames, whichever is
    larger. It draws frames before channels, so the first noise is handed to it."""
    peer = peer or CogVideoXPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    call = {**SMALL, "num_inference_steps": 4, **call}
    extent = {"frames": frames, "height": call["height"], "width": call["width"]}
    distances = []
    for output_type in ("latent", "np"):
        both = {"prompt": PROMPTS, "output_type": output_type, **call}
        first = ours.noise(SEEDS, extent)().transpose(1, 2)
        theirs = peer(latents=first, num_frames=frames, **both).frames
        theirs = theirs.transpose(1, 2) if output_type == "latent" else theirs
        images = ours(seed=list(SEEDS), frames=frames, **both).images
        distances.append(apart(images, theirs))
    return max(distances)


@pytest.mark.parametrize(
    "call",
    [{}, {"guidance_scale": 1.0}, {"negative_prompt": ["green", "a circle"]}],
    ids=["plain", "no guidance", "negative prompts"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    folder: Path, pipe: Pipeline, call: dict[str, Any]
) -> None:
    assert pipe.recipe["scheduler"] == {"name": "ddim"}
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 6.0}
    assert pipe.model.info.default_extent == {"frames": 9, "height": 32, "width": 32}
    assert to_diffusers(pipe, folder, **call) < 1e-5


@pytest.mark.parametrize("size", [{}, {"height": 32, "width": 16}], ids=["wide", "high"])
def test_places_that_turn_give_what_diffusers_gives(tmp_path: Path, size: dict[str, int]) -> None:
    folder = tiny.write_cogvideox(tmp_path, rotary=True, scheduler={"snr_shift_scale": 1.0})
    assert to_diffusers(Pipeline.from_pretrained(folder), folder, **size) < 1e-5


def test_as_many_frames_are_made_as_are_asked_for(folder: Path, pipe: Pipeline) -> None:
    """Of an even number of latents Diffusers' autoencoder makes three frames too many: it takes the
    first for one of four. With the last one twice they are odd, and the rest is as it should be."""
    call: dict[str, Any] = {**SMALL, "frames": 5, "num_inference_steps": 2, "seed": list(SEEDS)}
    latents = pipe(PROMPTS, output_type="latent", **call).images
    vae = pipe.model.parts["vae"].module
    assert latents.shape[2] == 2
    assert vae.decode(latents / vae.config.scaling_factor).sample.shape[2] == 8
    longer = torch.cat([latents, latents[:, :, -1:]], dim=2) / vae.config.scaling_factor
    made = pipe(PROMPTS, output_type="pt", **call).images
    assert made.shape[1] == 5 or made.shape[2] == 5
    assert apart(pipe.decode(latents), vae.decode(longer).sample[:, :, :5]) < 1e-6
    assert len(pipe(PROMPTS[0], **call | {"seed": 3, "frames": 13}).images[0]) == 13


NEWER: dict[str, Any] = {"rotary": True, "patch_size_t": 2, "scheduler": {"snr_shift_scale": 1.0}}


def test_several_frames_as_one_token_give_what_diffusers_gives(tmp_path: Path) -> None:
    """Version 1.5: the frames of latents that fill up the first token are no part of the video."""
    folder = tiny.write_cogvideox(tmp_path, **NEWER)
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.model.info.default_extent == {"frames": 9, "height": 32, "width": 32}
    assert to_diffusers(pipe, folder, frames=9) < 1e-5
    assert to_diffusers(pipe, folder, frames=1, guidance_scale=1.0) < 1e-5
    call: dict[str, Any] = {**SMALL, "frames": 9, "num_inference_steps": 2, "seed": 3}
    assert apart_alone(pipe, {"prompt": [*PROMPTS, "", "a star"]}, **SMALL, frames=9) < 1e-5
    for frames in (5, 8, 13):
        with pytest.raises(LdmError, match="frames must be 1 and then every 8"):
            pipe(PROMPTS[0], **call | {"frames": frames})
    with pytest.raises(LdmError, match="width should be at most 32, for which it has positions"):
        pipe(PROMPTS[0], **call | {"width": 48})


def test_a_video_of_several_frames_a_token_is_started_from_and_made_in_part(tmp_path: Path) -> None:
    pipe = Pipeline.from_pretrained(tiny.write_cogvideox(tmp_path, **NEWER))
    clip = torch.rand(9, 3, 16, 32, generator=torch.Generator().manual_seed(1))
    data = clip.transpose(0, 1)[None] * 2 - 1
    ours = pipe.replace(conditioning=["text", "video"], encoder=FROM_MEAN)
    latents = ours.encode(data)
    assert latents.shape == (1, 4, 4, 4, 8)
    assert latents[:, :, 0].equal(latents[:, :, 1])
    drawn = pipe.encode(data)
    assert drawn.shape == latents.shape
    assert apart(drawn, latents) > 0.1
    frames = pipe.model.parts["vae"].module.decode(latents[:, :, 1:] / 1.15258426).sample
    assert apart(pipe.decode(latents), frames) < 1e-5
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 3, "output_type": "latent"}
    call |= {**SMALL, "frames": 9, "video": clip, "frame_rate": 8, "strength": 1.0}
    late = ours("a star", **call, repaint="0.7-1.2").images
    assert apart(late[:, :, :3], latents[:, :, :3]) < 1e-5
    assert apart(late[:, :, 3], latents[:, :, 3]) > 0.1
    early = ours("a star", **call, repaint="0-0.1").images
    assert apart(early[:, :, 2:], latents[:, :, 2:]) < 1e-5
    assert min(apart(early[:, :, i], latents[:, :, i]) for i in (0, 1)) > 0.1


@pytest.mark.slow
def test_the_other_class_of_scheduler_gives_what_diffusers_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It draws twice in most steps, and uses the second; it is handed the noise that ours draws."""
    folder = tiny.write_cogvideox(tmp_path, scheduler={"_class_name": "CogVideoXDPMScheduler"})
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["scheduler"] == {"name": "dpmpp_2m_sde"}
    peer = CogVideoXPipeline.from_pretrained(folder)
    assert isinstance(peer.scheduler, CogVideoXDPMScheduler)
    noise = pipe.noise(SEEDS, {"frames": 5, **SMALL})
    noise()  # the first x
    drawn: list[torch.Tensor] = []

    def draw(*args: Any, **options: Any) -> torch.Tensor:
        # the first step draws once, the others twice
        if len(drawn) % 2 == 1 or not drawn:
            drawn.append(noise().transpose(1, 2))
        else:
            drawn.append(drawn[-1])
        return drawn[-1]

    monkeypatch.setattr(scheduling_dpm_cogvideox, "randn_tensor", draw)
    call = {**SMALL, "num_inference_steps": 4, "output_type": "latent"}
    first = pipe.noise(SEEDS, {"frames": 5, **SMALL})().transpose(1, 2)
    peer.set_progress_bar_config(disable=True)
    theirs = peer(PROMPTS, latents=first, num_frames=5, **call).frames.transpose(1, 2)
    assert apart(pipe(PROMPTS, seed=list(SEEDS), frames=5, **call).images, theirs) < 1e-5


def test_a_video_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    call = {**SMALL, "frames": 5, "num_inference_steps": 2, "output_type": "pt"}
    together = pipe([*PROMPTS, "", "a star"], seed=[5, 5, 6, 7], **call).images
    for i, prompt in enumerate([*PROMPTS, "", "a star"]):
        alone = pipe([prompt], seed=[5, 5, 6, 7][i], **call).images
        assert apart(alone[0], together[i]) < 1e-5
    assert apart(together[0], together[1]) > 0.001


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen",
    [{"scheduler": name} for name in ("euler", "dpmpp_2m", "heun", "unipc", "lcm")]
    + [{"attention": "chunked"}, {"guidance": "adaptive_projected"}],
    ids=lambda chosen: str(chosen),
)
def test_what_is_chosen_by_name_serves_a_video(pipe: Pipeline, chosen: dict[str, Any]) -> None:
    call = {**SMALL, "frames": 5, "num_inference_steps": 3, "output_type": "latent", "seed": 1}
    x = pipe.replace(**chosen)("a red star", **call).images
    assert x.isfinite().all()
    assert 0.1 < x.std() < 20


@pytest.mark.parametrize(
    "said",
    [{}, {"inverted": True}, {**NEWER, "ofs_embed_dim": 8}],
    ids=["", "inverted", "several frames a token"],
)
def test_a_video_from_a_picture_gives_what_diffusers_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]
) -> None:
    """Diffusers draws from the picture's posterior; both take its mean."""
    folder = tiny.write_cogvideox(
        tmp_path, **{"rotary": True, "pipeline": "CogVideoXImageToVideoPipeline", **said}
    )
    monkeypatch.setattr(
        pipeline_cogvideox_image2video,
        "retrieve_latents",
        lambda output, generator=None: output.latent_dist.mode(),
    )
    pipe = Pipeline.from_pretrained(folder)
    peer = CogVideoXImageToVideoPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    shown = [picture(1, 32, 16), picture(2, 32, 16)]
    call: dict[str, Any] = {**SMALL, "num_inference_steps": 4}
    for output_type in ("latent", "np"):
        both = {"output_type": output_type, **call}
        first = pipe.noise(SEEDS, {"frames": 9, **SMALL})().transpose(1, 2)
        theirs = peer(shown, PROMPTS, latents=first, num_frames=9, **both).frames
        theirs = theirs.transpose(1, 2) if output_type == "latent" else theirs
        made = pipe(PROMPTS, first_frame=shown, seed=list(SEEDS), frames=9, **both).images
        assert apart(made, theirs) < 1e-5
    inputs = {"prompt": PROMPTS, "first_frame": shown}
    assert apart_alone(pipe, inputs, frames=9, **SMALL) < 1e-5


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer/config.json", {"in_channels": 8}, "takes 8 channels and returns 4"),
        ("transformer/config.json", {"text_embed_dim": 48}, "width 48, and T5 gives 32"),
        ("transformer/config.json", {"patch_size_t": 2}, "which none does without use_rotary"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "DDIMScheduler"},
            "does not lower the signal",
        ),
        ("scheduler/scheduler_config.json", {"snr_shift_scale": -1}, "should be a positive number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_components_that_do_not_fit_are_refused(
    tmp_path: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    folder = tiny.write_cogvideox(tmp_path)
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())
