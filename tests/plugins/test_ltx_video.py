"""The LTX-Video family: Diffusers' own videos from the same folders."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LTXConditionPipeline, LTXImageToVideoPipeline, LTXPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.pipelines.ltx import pipeline_ltx_condition
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from peers import apart
from tiny.lora import ATTENTION, write_lora
from video_peers import PROMPTS, alone, generators, picture, pixels, video_distance

SMALL: dict[str, Any] = {"height": 32, "width": 32}
LONGER = ["a", "a red star", "a large blue circle on the green background", "star star star"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_ltx_video(tmp_path_factory.mktemp("ltx"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


class Peer:
    """A pipeline of LTX-Video, with its latents unpacked.

    Args:
        frames: places of the latents.
    """

    def __init__(self, pipeline: Any, frames: int, side: int = 8) -> None:
        self.pipeline = pipeline
        self.shape = (frames, side, side)
        self.set_progress_bar_config = pipeline.set_progress_bar_config

    def __call__(self, output_type: str, **call: Any) -> Any:
        made = self.pipeline(output_type=output_type, **call)
        if output_type != "latent":
            return made
        return SimpleNamespace(frames=self.pipeline._unpack_latents(made.frames, *self.shape))


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"guidance_scale": 1.0, "frame_rate": 10},
        {"negative_prompt": ["green", "a circle"], "frames": 1},
        {"frames": 13, "their": {"guidance_rescale": 0.7}, "rescale": 0.7},
    ],
    ids=["plain", "no guidance, slow", "negative prompts, one frame", "rescaled"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    folder: Path, pipe: Pipeline, call: dict[str, Any]
) -> None:
    assert pipe.recipe["num_inference_steps"] == 50
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 3.0}
    assert (pipe.model.info.rate, pipe.model.info.default_extent["frames"]) == (25, 81)
    call = {"frames": 5, **SMALL, **call}
    rescale = call.pop("rescale", None)
    chosen = pipe if rescale is None else pipe.replace(guidance={"rescale": rescale})
    peer = Peer(LTXPipeline.from_pretrained(folder), (call["frames"] - 1) // 4 + 1)
    assert video_distance(chosen, peer, **call) < 1e-5


def test_a_video_goes_on_from_a_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Diffusers draws the latents of the picture from the posterior; here it takes the mean too."""
    monkeypatch.setattr(
        DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean
    )
    pipe = Pipeline.from_pretrained(folder, conditioning=["text", "frame_rate", "first_frame"])
    peer = Peer(LTXImageToVideoPipeline.from_pretrained(folder), 2)
    pictures = [picture(seed, 32, 32) for seed in (1, 2)]
    own, their = {"first_frame": pictures}, {"image": pictures}
    assert video_distance(pipe, peer, own, their, **SMALL) < 1e-5
    rescaled = pipe.replace(guidance={"rescale": 0.7})
    their["guidance_rescale"] = 0.7
    assert video_distance(rescaled, peer, own, their, **SMALL) < 1e-5
    made = pipe(list(PROMPTS), seed=3, frames=5, output_type="latent", **own, **SMALL).images
    first = pipe.encode(torch.cat([pixels(picture) for picture in pictures]), seed=0)
    assert apart(made[:, :, :1], first) < 1e-6


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 0.9.5 or later."""
    static = {"shift": 1.0, "use_dynamic_shifting": False}
    folder = tmp_path_factory.mktemp("later")
    return tiny.write_ltx_video(folder, "LTXConditionPipeline", scheduler=static)


@pytest.fixture(scope="module")
def later_peer(later: Path) -> LTXConditionPipeline:
    pipeline = LTXConditionPipeline.from_pretrained(later)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


FOUR: dict[str, Any] = {"num_inference_steps": 4, "frame_rate": 12, **SMALL}


def test_later_versions_give_what_diffusers_gives(
    later: Path, later_peer: LTXConditionPipeline
) -> None:
    text = {"prompt": list(PROMPTS), "output_type": "np", **FOUR}
    theirs = later_peer(num_frames=9, generator=generators(2), **text).frames
    found = Pipeline.from_pretrained(later)(seed=3, frames=9, **text).images
    assert apart(found, theirs) < 1e-5


def clip(seed: int, frames: int) -> list[Image.Image]:
    return [picture(seed + i, 32, 32) for i in range(frames)]


def as_array(frames: list[Image.Image]) -> Any:
    return np.stack([np.asarray(frame) for frame in frames]).astype(np.float32) / 255


def shown_distance(
    pipe: Pipeline,
    peer: LTXConditionPipeline,
    own: dict[str, Any],
    their: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    frames: int = 17,
) -> float:
    """Relative distance in the final latents or in the frames, whichever is larger, where both draw
    the same noise: that of the seeds, x's first, then before each step that of x's places and that
    of further tokens. The latents of what is shown are the posterior's mean."""
    monkeypatch.setattr(
        DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean
    )
    seeds, distances, places = [3, 4], [], (frames - 1) // 4 + 1

    def alone(number: int, output_type: str) -> Any:
        """Its pipeline takes a single video with what is shown within."""
        draw = pipe.noise([seeds[number]], {"frames": frames, **SMALL})

        def drawn(shape: Any, **options: Any) -> Any:
            if len(shape) == 5 and shape[2] == places:
                return draw()
            if len(shape) == 5:  # of a further token, which it then has no share of
                return torch.zeros(shape)
            x, more = (draw().flatten(2).transpose(1, 2) for _ in range(2))
            return torch.cat([more[:, : shape[1] - x.shape[1]], x], dim=1)

        monkeypatch.setattr(pipeline_ltx_condition, "randn_tensor", drawn)
        call = {"prompt": PROMPTS[number], "output_type": output_type, **FOUR}
        return peer(num_frames=frames, **call, **their).frames

    for output_type in ("latent", "np"):
        theirs = [torch.as_tensor(alone(number, output_type)) for number in (0, 1)]
        both = {"prompt": list(PROMPTS), "output_type": output_type, **FOUR}
        found = pipe(seed=seeds, frames=frames, **both, **own).images
        distances.append(apart(found, torch.cat(theirs)))
    return max(distances)


@pytest.fixture(scope="module")
def keyed(later: Path) -> Pipeline:
    return Pipeline.from_pretrained(later, conditioning=["text", "frame_rate", "keyframes"])


def test_a_picture_with_nothing_chosen_gives_what_diffusers_gives(
    later: Path, later_peer: LTXConditionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one more with which the video ends."""
    pipe = Pipeline.from_pretrained(later, conditioning=["text", "frame_rate", "first_frame"])
    first, last = picture(1, 32, 32), picture(2, 32, 32)
    own, their = {"first_frame": first}, {"image": first}
    assert shown_distance(pipe, later_peer, own, their, monkeypatch) < 1e-4
    still = pipe.replace(conditioning=still_frames(pipe))
    their["image_cond_noise_scale"] = 0.0
    assert shown_distance(still, later_peer, own, their, monkeypatch) < 1e-4
    own["last_frame"] = last
    their = {"image": [first, last], "video": [None, None], "frame_index": [0, 16]}
    assert shown_distance(pipe, later_peer, own, their, monkeypatch) < 1e-4


def still_frames(pipe: Pipeline) -> list[Any]:
    return ["text", "frame_rate", {"name": "first_frame", "noise_scale": 0.0}]


@pytest.mark.parametrize(
    "shown",
    [
        [{"image": 1, "frame_index": 6}],
        [{"image": 1, "strength": 0.7}, {"image": 2, "frame_index": 9}],
        [{"video": (1, 9)}],
        [{"video": (1, 6), "strength": 0.4}],
        [{"image": 1}, {"video": (3, 30), "frame_index": 4}],
    ],
    ids=["within", "in part, and within", "a prefix", "a prefix in part", "a piece within"],
)
def test_keyframes_give_what_diffusers_gives(
    keyed: Pipeline,
    later_peer: LTXConditionPipeline,
    monkeypatch: pytest.MonkeyPatch,
    shown: list[dict[str, Any]],
) -> None:
    own, their = [], []
    for table in shown:
        rest = {key: table[key] for key in table if key not in ("image", "video")}
        if "image" in table:
            image = picture(table["image"], 32, 32)
            own.append({"image": image, **rest})
            their.append(LTXVideoCondition(image=image, **rest))
        else:
            frames = clip(*table["video"])
            own.append({"video": as_array(frames), **rest})
            their.append(LTXVideoCondition(video=frames, **rest))
    inputs = {"keyframes": own}, {"conditions": their}
    assert shown_distance(keyed, later_peer, *inputs, monkeypatch) < 1e-4


@pytest.mark.parametrize(
    ("strength", "still"),
    [(0.5, None), (0.75, {"image": 1, "strength": 0.6})],
    ids=["alone", "beside a picture"],
)
def test_a_start_from_a_video_gives_what_diffusers_gives(
    keyed: Pipeline,
    later_peer: LTXConditionPipeline,
    monkeypatch: pytest.MonkeyPatch,
    strength: float,
    still: dict[str, Any] | None,
) -> None:
    """There its latents are given, with the `denoise_strength`."""
    video = as_array(clip(10, 17))
    pipe = keyed.replace(conditioning=[*keyed.recipe["conditioning"], "video"])
    own: dict[str, Any] = {"video": video, "strength": strength}
    latents = pipe.encode(torch.from_numpy(video).permute(3, 0, 1, 2)[None] * 2 - 1)
    their: dict[str, Any] = {"latents": latents, "denoise_strength": strength}
    if still is not None:
        shown = {**still, "image": picture(still["image"], 32, 32)}
        own["keyframes"] = [shown]
        their["conditions"] = [LTXVideoCondition(**shown)]
    assert shown_distance(pipe, later_peer, own, their, monkeypatch) < 1e-4


def test_keyframes_are_given_on_the_command_line_and_made_again(
    ldm: Any, later: Path, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    for number in (1, 2):
        picture(number, 32, 32).save(tmp_path / f"{number}.png")
    shown = '[{image = "1.png"}, {image = "2.png", frame_index = 5}]'
    chosen = '["text", "frame_rate", "keyframes"]'
    code, out, err = ldm(
        "text-to-video", "a red star", "--model", later, "--set", f"conditioning={chosen}",
        "--keyframes", shown, "--frames", 9, "--size", "32x32", "--steps", 2, "--seed", 3,
        "--format", "mkv", "--out", tmp_path / "made",
    )  # fmt: skip
    assert code == 0, err
    file = out.strip()
    again = ldm("replay", file, "--allow-files", "--json", "--out", tmp_path / "again")
    assert again[0] == 0, again[2]
    told = json.loads(again[1])
    assert (told["verdict"], told["differs"]) == ("the same video, frame for frame", [])
    picture(3, 32, 32).save(tmp_path / "2.png")
    _, out, err = ldm("replay", file, "--allow-files", "--json", "--out", tmp_path / "after")
    assert any("2.png" in note for note in json.loads(out)["differs"]), err


def test_keyframes_of_a_batch_are_each_video_s_own(keyed: Pipeline) -> None:
    """Of differing number, under a scheduler that draws too, and gone on with half-way."""
    pictures = [picture(seed, 32, 32) for seed in (1, 2)]
    each = [
        [{"image": pictures[0], "frame_index": 5}],
        [{"image": pictures[1], "strength": 0.6}, {"image": pictures[0], "frame_index": 8}],
        [],
        [{"image": pictures[0]}],
    ]
    inputs = {"prompt": LONGER, "keyframes": each}
    assert alone(keyed, inputs, frames=9, **SMALL) < 1e-5
    noisy = keyed.replace(scheduler="euler_ancestral")
    assert alone(noisy, inputs, frames=9, **{**SMALL, "num_inference_steps": 3}) < 1e-5


def test_a_walk_that_stops_goes_on_where_it_was(later: Path) -> None:
    still = {"name": "keyframes", "noise_scale": 0.0}
    pipe = Pipeline.from_pretrained(later, conditioning=["text", "frame_rate", still])
    shown = [{"image": picture(1, 32, 32), "strength": 0.3}]
    shown += [{"image": picture(2, 32, 32), "frame_index": 5}]
    plan = pipe.composition.plan(
        {"prompt": "a red star", "keyframes": shown}, [3], {"frames": 9, **SMALL}, 8
    )
    whole = pipe.start(plan)
    end = whole.walk(whole.x)
    before = pipe.start(plan)
    x = before.walk(before.x, stop=3)
    after = pipe.resume(plan, x, plan.grid[3])
    assert apart(after.walk(after.x), end) < 1e-5


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ({"picture": 1}, "has no 'picture'"),
        ({"frame_index": 1}, "needs an image or a video"),
        ({"image": 1, "frame_index": 17}, "one of the video's frames, 0 to 16, not 17"),
        ({"image": 1, "frame_index": 4, "strength": 0.5}, "shown beside the video, whole"),
        ({"image": 1, "strength": 2}, "a number from 0 to 1, not 2"),
        ({"image": picture(1, 16, 16)}, "is 16x16 pixels and 32x32 is to be made"),
        ({"video": as_array(clip(1, 9)), "frame_index": 6}, "begins at a multiple of 4 frames"),
        ({"video": as_array(clip(1, 3)), "frame_index": 4}, "has at least 5; this one of 3"),
        ({"video": 7}, "should be a file or an array"),
        ("star", "should be a table"),
    ],
)
def test_keyframes_that_do_not_lie_in_the_video_are_refused(
    later: Path, shown: Any, words: str
) -> None:
    composition = compose({"model": str(later), "conditioning": ["text", "keyframes"]})
    given = {"prompt": "a red star", "keyframes": [shown]}
    with pytest.raises(LdmError, match=words):
        composition.plan(given, [1], {"frames": 17, **SMALL})


def test_models_without_keyframes_take_none(folder: Path) -> None:
    with pytest.raises(LdmError, match="keyframes"):
        compose({"model": str(folder), "conditioning": ["text", "keyframes"]})
    noisy = {"name": "first_frame", "noise_scale": 0.1}
    with pytest.raises(LdmError, match="noise_scale of 'first_frame' is for models that are shown"):
        compose({"model": str(folder), "conditioning": ["text", noisy]})


def test_a_folder_of_the_class_for_pictures_asks_for_one(tmp_path: Path) -> None:
    folder = tiny.write_ltx_video(tmp_path, pipeline="LTXImageToVideoPipeline")
    composition = compose({"model": str(folder)}, installed())
    with pytest.raises(LdmError, match="needs 'first_frame'"):
        composition.plan({"prompt": "a red star"}, [1])


def test_a_decoder_that_denoises_gives_what_diffusers_gives(tmp_path: Path) -> None:
    folder = tiny.write_ltx_video(tmp_path, denoises=True)
    peer = Peer(LTXPipeline.from_pretrained(folder), 2)
    plain = Pipeline.from_pretrained(folder)
    assert video_distance(plain, peer, **SMALL) < 1e-5
    noisy = plain.replace(
        conditioning=["text", "frame_rate", {"name": "decode_noise", "scale": 0.3}],
        decoder={"timestep": 0.05},
    )
    call: dict[str, Any] = {"prompt": list(PROMPTS), "num_inference_steps": 2, **SMALL}
    told = {"decode_timestep": 0.05, "decode_noise_scale": 0.3}
    theirs = peer.pipeline(
        num_frames=5, generator=generators(2), output_type="np", **told, **call
    ).frames
    assert apart(noisy(seed=3, frames=5, output_type="np", **call).images, theirs) < 1e-5


def test_a_timestep_for_another_decoder_is_refused(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="takes no timestep"):
        pipe.replace(decoder={"timestep": 0.05})("a red star", seed=1, frames=1, **SMALL)


def test_noise_for_another_decoder_is_refused(folder: Path) -> None:
    with pytest.raises(LdmError, match="decode_noise"):
        compose({"model": str(folder), "conditioning": ["text", "decode_noise"]}, installed())


def test_a_frame_rate_that_nothing_tells_the_network_is_refused(folder: Path) -> None:
    composition = compose({"model": str(folder), "conditioning": ["text"]}, installed())
    asked: dict[str, Any] = {"inputs": {"prompt": "a red star"}, "seeds": [1]}
    with pytest.raises(LdmError, match="no conditioning tells it 10"):
        composition.plan(**asked, frame_rate=10.0)
    for rate in (25.0, None):  # its own
        assert composition.plan(**asked, frame_rate=rate).request.frame_rate == rate
    told = compose({"model": str(folder)}, installed())
    assert told.plan(**asked, frame_rate=10.0).request.frame_rate == 10


def test_a_video_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    assert alone(pipe, {"prompt": LONGER}, frames=5, **SMALL) < 1e-5


@pytest.mark.slow
def test_a_lora_gives_what_diffusers_gives(folder: Path, tmp_path: Path) -> None:
    file = write_lora(LTXPipeline, folder, tmp_path, {"transformer": ATTENTION}, seed=5)
    peer = Peer(LTXPipeline.from_pretrained(folder), 2)
    peer.pipeline.load_lora_weights(tmp_path)
    pipe = Pipeline.from_pretrained(folder, loras=[str(file)])
    assert video_distance(pipe, peer, **SMALL) < 1e-5


@pytest.mark.parametrize("without", ["values", "nothing"])
def test_spatio_temporal_guidance_leaves_self_attention_out(
    folder: Path, pipe: Pipeline, without: str
) -> None:
    """As the network that is changed by hand answers."""
    call: dict[str, Any] = {"frames": 5, "num_inference_steps": 1, "seed": 3, **SMALL}
    call = {"prompt": "a red star", "output_type": "latent", **call}
    plain = pipe.replace(guidance="none")
    options = {"layers": [1], "scale": 2.0, "without": without, "beside": "none"}
    guided = pipe.replace(guidance={"name": "spatio_temporal", **options})
    changed = Pipeline.from_pretrained(folder, guidance="none")
    layer = changed.model.parts["transformer"].module.transformer_blocks[1].attn1

    def forward(hidden_states: torch.Tensor, **options: Any) -> torch.Tensor:
        own: torch.Tensor = layer.to_out[0](layer.to_v(hidden_states))
        return own if without == "values" else torch.zeros_like(own)

    layer.forward = forward
    positive, perturbed = plain(**call).images, changed(**call).images
    assert apart(positive, perturbed) > 1e-4
    assert apart(guided(**call).images, 3 * positive - 2 * perturbed) < 1e-5
    assert plain(**call).images.equal(positive)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "heun", "ddim", "unipc", "lcm"])
def test_ordinary_schedulers_run_on_it(pipe: Pipeline, scheduler: str) -> None:
    made = pipe.replace(scheduler=scheduler)("a star", seed=1, frames=5, **SMALL,
        num_inference_steps=2, output_type="latent").images  # fmt: skip
    assert made.isfinite().all()
    assert 0.1 < made.std() < 10


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer", {"in_channels": 16}, "takes 16 channels"),
        ("transformer", {"caption_channels": 64}, "width 64, and T5 gives 32"),
        ("transformer", {"cross_attention_dim": 64}, "should be its width, 32, not 64"),
        ("transformer", {"patch_size": 2}, "a patch of 1, are known"),
        ("vae", {"latent_channels": 4}, "the autoencoder gives 4"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, folder: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    for source in folder.rglob("*.*"):
        target = tmp_path / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source) if source.suffix == ".safetensors" else target.write_bytes(
            source.read_bytes()
        )
    edit(tmp_path / file / "config.json", **changes)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(tmp_path)}, installed())


def test_lengths_that_no_latent_has_are_refused(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="its frames must be 1 and then every 4"):
        pipe("a star", seed=1, frames=6, **SMALL)
