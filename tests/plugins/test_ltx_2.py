"""The LTX-2 family: Diffusers' own videos and sounds from the same folders."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTX2ImageToVideoPipeline, LTX2Pipeline
from diffusers.pipelines.ltx2 import pipeline_ltx2_image2video

import tiny
from ldm_core import Pipeline, chain
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from ldm_plugins.conditioning.shared.compression import compressed
from ldm_plugins.shared.video_and_sound import Both, VideoAndSound
from peers import apart, far
from video_peers import PROMPTS, alone, picture

SMALL: dict[str, Any] = {"frames": 9, "height": 32, "width": 32}
SEEDS = [3, 4]
SAME = "the same video, frame for frame and sample for sample"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_ltx_2(tmp_path_factory.mktemp("ltx2"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def peer(folder: Path) -> LTX2Pipeline:
    return LTX2Pipeline.from_pretrained(folder)


def space(pipe: Pipeline) -> VideoAndSound:
    latents = pipe.model.info.latents
    assert isinstance(latents, VideoAndSound)
    return latents


def raw(pipe: Pipeline, both: Both) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of video and sound as the autoencoders have them; Diffusers takes and gives those."""
    video, sound = (pipe.model.parts[name].module for name in ("vae", "audio_vae"))
    numbers = (n.view(1, -1, 1, 1, 1) for n in (video.latents_std, video.latents_mean))
    std, mean = numbers
    packed = both.sound.transpose(1, 2).flatten(2) * sound.latents_std + sound.latents_mean
    return both.video * std + mean, packed.unflatten(2, (both.sound.shape[1], -1)).transpose(1, 2)


def distance(
    pipe: Pipeline,
    peer: Any,
    their: dict[str, Any] | None = None,
    own: dict[str, Any] | None = None,
    rate: float = 24.0,
) -> float:
    """Relative distance to Diffusers in the latents of video and sound, in frames and in samples,
    whichever is largest, from our noise."""
    peer.set_progress_bar_config(disable=True)
    rated = pipe.at_rate(rate)
    noise = space(rated).split(rated.noise(SEEDS, SMALL)())
    video, _ = raw(pipe, noise)
    # what it takes of sound it normalises after packing, and so by the same numbers
    _, sound = raw(pipe, noise)
    both: dict[str, Any] = {"num_inference_steps": 3, "height": 32, "width": 32}
    prompts, distances = list(PROMPTS), []
    for output_type in ("latent", "np"):
        expected = peer(
            prompt=prompts,
            num_frames=9,
            latents=video,
            audio_latents=sound,
            output_type=output_type,
            frame_rate=rate,
            **both,
            **(their or {}),
        )
        asked = {"frames": 9, "frame_rate": rate, **(own or {})}
        made = pipe(prompts, seed=SEEDS, output_type=output_type, **both, **asked)
        if output_type == "latent":
            frames, heard = raw(pipe, space(rated).split(made.images))
        else:
            assert (made.rate, made.manifests[0]["frame_rate"]) == (rate, rate)
            frames, heard = made.images, made.beside[0].images
        distances += [apart(frames, expected.frames), apart(heard, expected.audio)]
    return max(distances)


STG_OFF = {"stg_scale": 0.0, "audio_stg_scale": 0.0}
ALL_OFF = {
    **STG_OFF, "guidance_scale": 1.0, "audio_guidance_scale": 1.0, "modality_scale": 1.0,
    "audio_modality_scale": 1.0, "guidance_rescale": 0.0, "audio_guidance_rescale": 0.0,
}  # fmt: skip


def test_nothing_chosen_gives_what_diffusers_gives(pipe: Pipeline, peer: LTX2Pipeline) -> None:
    """This network has no block 28, where its pipeline would perturb self-attention."""
    assert pipe.recipe["num_inference_steps"] == 30
    assert pipe.recipe["guidance"]["name"] == "multimodal"
    assert pipe.model.info.rate == 24
    assert distance(pipe, peer) < 1e-4


def test_no_guidance_gives_what_diffusers_gives(pipe: Pipeline, peer: LTX2Pipeline) -> None:
    assert distance(pipe.replace(guidance="none"), peer, ALL_OFF) < 1e-5


def test_all_guidances_with_scales_of_their_own(pipe: Pipeline, peer: LTX2Pipeline) -> None:
    chosen = pipe.replace(
        guidance={
            "scale": 2.0, "audio_scale": 4.0, "stg_scale": 0.5, "audio_stg_scale": 1.5,
            "layers": [1], "modality_scale": 2.0, "audio_modality_scale": 3.0, "rescale": 0.3,
            "audio_rescale": 0.6,
        }
    )  # fmt: skip
    their = {
        "guidance_scale": 2.0, "audio_guidance_scale": 4.0, "stg_scale": 0.5,
        "audio_stg_scale": 1.5, "spatio_temporal_guidance_blocks": [1], "modality_scale": 2.0,
        "audio_modality_scale": 3.0, "guidance_rescale": 0.3, "audio_guidance_rescale": 0.6,
    }  # fmt: skip
    assert distance(chosen, peer, their) < 1e-4


@pytest.mark.slow
def test_one_guidance_beside_another_gives_what_all_at_once_give(
    pipe: Pipeline, peer: LTX2Pipeline
) -> None:
    inner = {"name": "classifier_free", "scale": 3.0}
    middle = {"name": "spatio_temporal", "layers": [0], "scale": 0.5, "beside": inner}
    chosen = pipe.replace(guidance={"name": "modality", "scale": 2.0, "beside": middle})
    their = {
        "guidance_scale": 3.0, "audio_guidance_scale": 3.0, "stg_scale": 0.5,
        "audio_stg_scale": 0.5, "spatio_temporal_guidance_blocks": [0], "modality_scale": 2.0,
        "audio_modality_scale": 2.0, "guidance_rescale": 0.0, "audio_guidance_rescale": 0.0,
    }  # fmt: skip
    assert distance(chosen, peer, their) < 1e-4


def test_diffusers_perturbs_nothing_where_a_network_was_not_made_for_it(
    tmp_path: Path, peer: LTX2Pipeline
) -> None:
    """Of the same weights, it then makes one call more a step and says nothing. Ours perturbs them
    where it is told to, as Diffusers does the network that says that it was made for it."""
    folder = tiny.write_ltx_2(tmp_path, perturbed_attn=False)
    theirs = LTX2Pipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    ours = Pipeline.from_pretrained(folder)
    guidance = {"layers": [1], "modality_scale": 1.0, "rescale": 0.0, "stg_scale": 4.0}
    their = {
        "guidance_scale": 3.0, "audio_guidance_scale": 7.0, "modality_scale": 1.0,
        "audio_modality_scale": 1.0, "guidance_rescale": 0.0, "audio_guidance_rescale": 0.0,
        "stg_scale": 4.0, "audio_stg_scale": 4.0, "spatio_temporal_guidance_blocks": [1],
    }  # fmt: skip
    without = {**guidance, "layers": None, "stg_scale": 0.0}
    assert distance(ours.replace(guidance=without), theirs, their) < 1e-4
    assert distance(ours.replace(guidance=guidance), peer, their) < 1e-4
    assert distance(ours.replace(guidance=guidance), theirs, their) > 1e-2


@pytest.mark.parametrize("crf", [None, 0, 12], ids=["nothing chosen", "as it is", "another"])
def test_a_video_goes_on_from_a_picture(
    folder: Path, monkeypatch: pytest.MonkeyPatch, crf: int | None
) -> None:
    """Which is first compressed as a video's frame is."""
    pytest.importorskip("av")
    one = picture(1, 32, 32)
    chosen = {} if crf is None else {"crf": crf}
    plain = Pipeline.from_pretrained(
        folder, conditioning=["text", {"name": "first_frame", **chosen}]
    )
    peer = LTX2ImageToVideoPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    noise = space(plain).split(plain.noise([3], SMALL)())
    drawn = {tuple(noise.video.shape): noise.video}  # the sound's is handed over
    draw = pipeline_ltx2_image2video.randn_tensor
    monkeypatch.setattr(
        pipeline_ltx2_image2video,
        "randn_tensor",
        lambda shape, **more: drawn.get(tuple(shape), draw(shape, **more)),
    )
    _, sound = raw(plain, noise)
    both: dict[str, Any] = {"num_inference_steps": 3, "height": 32, "width": 32}
    call = {"image": one, "num_frames": 9, "audio_latents": sound, **both}
    own = {"first_frame": one, "seed": 3, "frames": 9, **both}
    made = plain(PROMPTS[0], output_type="latent", **own)
    theirs = peer(prompt=PROMPTS[0], image_crf=crf, output_type="latent", **call)
    frames, heard = raw(plain, space(plain).split(made.images))
    assert apart(frames, theirs.frames) < 1e-4
    assert apart(heard, theirs.audio) < 1e-4
    shown = plain(PROMPTS[0], output_type="np", **own)
    theirs = peer(prompt=PROMPTS[0], image_crf=crf, output_type="np", **call)
    assert apart(shown.images, theirs.frames) < 1e-4
    assert apart(shown.beside[0].images, theirs.audio) < 1e-4
    if crf != 0:
        bare = plain.replace(conditioning=["text", {"name": "first_frame", "crf": 0}])
        assert far(bare(PROMPTS[0], output_type="np", **own).images, shown.images) > 0.01


def test_a_compressed_picture_does_not_depend_on_how_many_processors_there_are() -> None:
    """Of which the codec takes as many threads as it finds, and cuts a large picture by them."""
    pytest.importorskip("av")
    across, down = torch.linspace(0, 1, 704), torch.linspace(0, 1, 480)[:, None]
    waves = torch.sin(90 * across * down).abs()
    pixels = torch.stack([across.expand(480, -1), down.expand(-1, 704), waves])[None]
    there = os.sched_getaffinity(0)
    try:
        by_all = compressed(pixels, 33)
        os.sched_setaffinity(0, {min(there)})
        by_one = compressed(pixels, 33)
    finally:
        os.sched_setaffinity(0, there)
    assert by_all.equal(by_one)
    assert 0 < float((by_one - pixels).abs().mean()) < 0.05


def test_a_picture_that_cannot_be_compressed_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    inputs = {"prompt": "a star", "first_frame": picture(1, 32, 32)}
    for frame in ({"crf": 0}, {}):
        chosen: dict[str, Any] = {"conditioning": ["text", {"name": "first_frame", **frame}]}
        made = compose({"model": str(folder), **chosen}, installed())
        if frame:
            made.plan(inputs, [1], SMALL)
            continue
        with pytest.raises(LdmError, match=r"crf 33; 0 leaves it as it is\) needs the package av"):
            made.plan(inputs, [1], SMALL)
    chosen = {"conditioning": ["text", {"name": "first_frame", "crf": 52}]}
    with pytest.raises(LdmError, match="from 0 to 51, not 52"):
        compose({"model": str(folder), **chosen}, installed())


def test_sound_lasts_as_long_as_the_video(pipe: Pipeline) -> None:
    """400 samples a second in this folder, each latent of the sound being a 25th of a second."""
    made = pipe(PROMPTS[0], seed=3, frames=25, height=32, width=32, num_inference_steps=1)
    (sound,) = made.beside
    assert (made.kind, sound.kind, made.rate, sound.rate) == ("video", "audio", 24, 400)
    seconds = sound.images[0].shape[-1] / sound.rate
    assert len(made.images[0]) == 25
    assert abs(seconds - 25 / 24) < 0.05


@pytest.mark.parametrize("rate", [16.0, 30.0])
def test_another_frame_rate_gives_what_diffusers_gives(
    pipe: Pipeline, peer: LTX2Pipeline, rate: float
) -> None:
    """Positions and the length of the sound follow it."""
    places = space(pipe.at_rate(rate)).sound_places(3), space(pipe).sound_places(3)
    assert places[0] != places[1]
    assert distance(pipe, peer, rate=rate) < 1e-4
    assert pipe.at_rate(24) is pipe
    assert pipe.at_rate(rate).at_rate(None).composition.info == pipe.composition.info


def test_slow_motion_is_that_of_diffusers(pipe: Pipeline, peer: LTX2Pipeline) -> None:
    slow = pipe.replace(conditioning=["text", {"name": "frame_rate", "motion_speed": 0.2}])
    assert distance(slow, peer, their={"motion_speed": 0.2}) < 1e-5
    assert distance(pipe, peer, their={"motion_speed": 0.2}) > 1e-4


def test_latents_are_decoded_at_the_rate_that_they_were_drawn_at(pipe: Pipeline) -> None:
    """An output says it, and a tensor must; of both rates the shapes are the same."""
    call: dict[str, Any] = {"seed": 3, "num_inference_steps": 2, "frame_rate": 30, **SMALL}
    drawn = pipe(PROMPTS[0], output_type="latent", **call)
    assert space(pipe).shape(SMALL) == tuple(drawn.images.shape[1:])
    made = pipe(PROMPTS[0], output_type="np", **call)
    for shown in (pipe.medium(drawn), pipe.medium(drawn.images, frame_rate=30)):
        pixels = (shown.data / 2 + 0.5).clamp(0, 1).movedim(1, -1)
        assert shown.rate == 30
        assert apart(pixels, made.images) < 1e-6
        assert apart(shown.beside[0].data, made.beside[0].images) < 1e-6
    with pytest.raises(LdmError, match="a tensor does not say it"):
        pipe.decode(drawn.images)
    with pytest.raises(LdmError, match="at 30 frames a second, and not at 24"):
        pipe.decode(drawn, frame_rate=24)
    with pytest.raises(LdmError, match="this one has none"):
        pipe.decode(pipe(PROMPTS[0], **call))


def test_what_is_told_no_frame_rate_is_refused_another(pipe: Pipeline) -> None:
    mute = pipe.replace(conditioning=["text"])
    with pytest.raises(LdmError, match="no conditioning tells it 30"):
        mute(PROMPTS[0], seed=3, frame_rate=30, **SMALL)


def test_a_video_of_another_rate_goes_through_all(folder: Path, pipe: Pipeline) -> None:
    """From a picture, in a chain, and each of a batch as it is alone."""
    call: dict[str, Any] = {"frame_rate": 12, "num_inference_steps": 2, **SMALL}
    assert alone(pipe, {"prompt": ["a", "a red star"]}, **call) < 1e-5
    framed = pipe.replace(conditioning=["text", "frame_rate", {"name": "first_frame", "crf": 0}])
    shown = {"first_frame": picture(1, 32, 32), "prompt": PROMPTS[0], "seed": 3, **call}
    made = framed(**shown)
    assert (len(made.images[0]), made.rate) == (9, 12)
    sound = made.beside[0]
    assert abs(sound.images[0].shape[-1] / sound.rate - 9 / 12) < 0.05
    call |= {"seed": 3, "output_type": "np"}
    whole, chained = pipe(PROMPTS[0], **call), chain(pipe, pipe, at=0.5)(PROMPTS[0], **call)
    assert apart(chained.images, whole.images) < 1e-5
    assert apart(chained.beside[0].images, whole.beside[0].images) < 1e-5


def test_a_file_of_another_rate_has_its_frames_and_as_much_sound(
    ldm: Any, folder: Path, pipe: Pipeline, tmp_path: Path
) -> None:
    av = pytest.importorskip("av")
    code, out, err = ldm(
        "text-to-video", PROMPTS[0], "--model", folder, "--frame-rate", 12, "--frames", 9,
        "--size", "32x32", "--steps", 2, "--seed", 3, "--format", "mkv", "--out", tmp_path / "made",
    )  # fmt: skip
    assert code == 0, err
    (sound,) = pipe(PROMPTS[0], seed=3, num_inference_steps=2, frame_rate=12, **SMALL).beside
    with av.open(out.strip()) as file:
        (video,), (heard,) = file.streams.video, file.streams.audio
        assert (video.average_rate, heard.rate) == (12, sound.rate)
        assert len([*file.decode(video)]) == 9
        file.seek(0)
        assert sum(part.samples for part in file.decode(heard)) == sound.images[0].shape[-1]
    assert abs(sound.images[0].shape[-1] / sound.rate - 9 / 12) < 0.05
    code, out, err = ldm(
        "replay", out.strip(), "--allow-files", "--json", "--out", tmp_path / "again"
    )
    assert code == 0, out + err
    told = json.loads(out)
    assert (told["verdict"], told["differs"]) == (SAME, [])


MIXES = [
    {"conditioning": ["text", "video"]},
    {"guidance": "along_frames"},
    {"guidance": "renormed"},
    {"guidance": "dynamic_threshold"},
    {"guidance": {"name": "dynamic_threshold", "inner": "multimodal"}},
    {"guidance": "adaptive_projected"},
    {"guidance": {"name": "cfg_zero_star", "zero_init_steps": 0}},
    {"guidance": {"name": "classifier_free", "rescale": 0.5}},
    {"guidance": {"name": "adaptive", "rescale": 0.5}},
    {"guidance": {"name": "composable", "prompts": ["a:1"], "rescale": 0.5}},
    {"guidance": {"name": "modality", "beside": {"name": "classifier_free", "rescale": 0.5}}},
    {"noise": "pyramid"},
    {"noise": "blue"},
    {"noise": "brownian"},
]


@pytest.mark.parametrize("choice", MIXES, ids=str)
def test_what_would_mix_video_and_sound_is_refused(folder: Path, choice: dict[str, Any]) -> None:
    with pytest.raises(LdmError, match="video and sound lie beside each other in one tensor"):
        compose({"model": str(folder), **choice}, installed())


@pytest.mark.parametrize(
    "choice",
    [
        {"guidance": {"name": "classifier_free", "rescale": 0.0}},
        {"guidance": {"name": "composable", "prompts": ["a:1"]}},
        {"noise": "white"},
    ],
    ids=["guidance", "prompts", "noise"],
)
def test_what_weighs_every_number_by_itself_is_not(folder: Path, choice: dict[str, Any]) -> None:
    assert compose({"model": str(folder), **choice}, installed()).info.family == "ltx_2"


def test_no_scale_at_all_is_no_guidance(pipe: Pipeline) -> None:
    """Over this family's own audio_scale of 7 too."""
    call: dict[str, Any] = {"seed": 3, "num_inference_steps": 1, "output_type": "latent", **SMALL}
    neutral = pipe.composition.guidance.neutral
    assert neutral is not None
    chosen = pipe.replace(guidance={**neutral, "layers": [1]})
    assert chosen.recipe["guidance"]["rescale"] == 0.7
    plain = pipe.replace(guidance="none")(PROMPTS[0], **call).images
    assert apart(chosen(PROMPTS[0], **call).images, plain) < 1e-6
    assert apart(pipe(PROMPTS[0], **call).images, plain) > 1e-3


@pytest.mark.parametrize("scale", ["stg_scale", "audio_stg_scale"])
def test_a_scale_without_layers_is_refused(folder: Path, scale: str) -> None:
    choice: dict[str, Any] = {"model": str(folder), "guidance": {scale: 1.0}}
    with pytest.raises(LdmError, match="an stg_scale, and no layers"):
        compose(choice, installed())
    choice["guidance"] |= {"layers": [1]}
    guidance: Any = compose(choice, installed()).guidance
    assert (guidance.video.skipped, guidance.sound.skipped) == (1.0, 1.0)


def test_what_its_decoder_was_not_trained_for_is_refused(folder: Path, pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="takes no timestep"):
        pipe.replace(decoder={"timestep": 0.05}).decode(pipe.noise([3], SMALL)(), frame_rate=24)
    with pytest.raises(LdmError, match="decode_noise"):
        compose({"model": str(folder), "conditioning": ["text", "decode_noise"]}, installed())


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 8, 8), (5, 32, 24), (41, 40, 16)])
def test_both_latents_are_found_again_in_one_tensor(
    pipe: Pipeline, frames: int, height: int, width: int
) -> None:
    own, extent = space(pipe), {"frames": frames, "height": height, "width": width}
    shape = own.shape(extent)
    assert own.extent(shape) == extent
    x = torch.randn(2, *shape)
    both = own.split(x)
    assert own.join(both).equal(x)
    assert both.video.shape[1:] == (4, (frames - 1) // 2 + 1, height // 8, width // 8)
    assert both.sound.shape[2] == max(round(frames / 24 * 25), 1)
    assert sum(part.numel() for part in both) == x.numel()


def test_a_video_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    prompts = ["a", "a red star", "a large blue circle", "star star star"]
    assert alone(pipe, {"prompt": prompts}, **SMALL) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "heun", "unipc"])
def test_ordinary_schedulers_run_on_it(pipe: Pipeline, scheduler: str) -> None:
    chosen = pipe.replace(scheduler=scheduler, guidance={"modality_scale": 1.0})
    made = chosen("a star", seed=1, num_inference_steps=2, output_type="latent", **SMALL).images
    assert made.isfinite().all()


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer", {"in_channels": 8}, "takes 8 channels"),
        ("transformer", {"audio_in_channels": 8}, "takes 8 numbers a place of the sound"),
        ("transformer", {"caption_channels": 8}, "width 8, and the connectors give 16"),
        ("connectors", {"text_proj_in_factor": 4}, "take 4 states of width 16, and Gemma gives 3"),
        ("vocoder", {"in_channels": 8}, "the vocoder takes 8 numbers"),
        ("transformer", {"patch_size": 2}, "a patch of 1, are known"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, folder: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    for source in folder.rglob("*.*"):
        target = tmp_path / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
    edited = tmp_path / file / "config.json"
    text = json.dumps({**json.loads(edited.read_text()), **changes})
    edited.unlink()
    edited.write_text(text)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(tmp_path)}, installed())
