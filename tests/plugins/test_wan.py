"""The Wan family: Diffusers' own videos from the same folders."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline, WanVideoToVideoPipeline
from diffusers.pipelines.wan import pipeline_wan, pipeline_wan_i2v, pipeline_wan_video2video
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.plugins.registry import installed
from ldm_plugins.autoencoders import autoencoder_kl_frame, autoencoder_kl_video
from ldm_plugins.families.wan import plain
from ldm_plugins.shared import frame_memory
from peers import apart
from tiny.lora import ATTENTION, write_lora

PROMPTS = ("a red star", "a blue circle on the green background")
SMALL: dict[str, Any] = {"height": 16, "width": 32}
SLOW = pytest.mark.slow
LARGER: dict[str, Any] = {"height": 32, "width": 32}
"""The smallest that Diffusers makes with an autoencoder that patches."""


@pytest.fixture(autouse=True)
def without_ftfy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of Diffusers' modules call a library that they may not have imported; text that is right
    passes through it as it is."""
    for module in (pipeline_wan_i2v, pipeline_wan_video2video):
        stand_in = SimpleNamespace(fix_text=lambda text: text)
        monkeypatch.setattr(module, "ftfy", stand_in, raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_wan(tmp_path_factory.mktemp("wan"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_wan(tmp_path_factory.mktemp("two"), two=True)


def picture(seed: int, width: int = 32, height: int = 16) -> Image.Image:
    noise = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(noise.to(torch.uint8).numpy())


def to_diffusers(
    ours: Pipeline,
    peer: Any,
    own: dict[str, Any] | None = None,
    their: dict[str, Any] | None = None,
    prompts: Sequence[str] = PROMPTS,
    frames: int = 5,
    **call: Any,
) -> float:
    """Relative distance to a pipeline of Diffusers, in the final latents or in the frames,
    whichever is larger."""
    peer.set_progress_bar_config(disable=True)
    call = {**SMALL, "num_inference_steps": 3, **call}
    distances = []
    for output_type in ("latent", "np"):
        generators = [torch.Generator().manual_seed(3 + i) for i in range(len(prompts))]
        both = {"prompt": list(prompts), "output_type": output_type, **call}
        theirs = peer(generator=generators, num_frames=frames, **both, **(their or {})).frames
        images = ours(seed=3, frames=frames, **both, **(own or {})).images
        distances.append(apart(images, theirs))
    return max(distances)


def latents(pipe: Pipeline, prompts: Sequence[str] = PROMPTS[:1], **call: Any) -> torch.Tensor:
    call = {"num_inference_steps": 2, "seed": 1, "output_type": "latent", **SMALL, **call}
    images: torch.Tensor = pipe(list(prompts), frames=call.pop("frames", 5), **call).images
    return images


@pytest.mark.parametrize(
    "call",
    [
        {},
        pytest.param({"guidance_scale": 1.0}, marks=SLOW),
        pytest.param({"negative_prompt": ["green", "a circle"], "frames": 1}, marks=SLOW),
        pytest.param({"prompts": ["  a &lt;red&gt;\n star "], "frames": 9}, marks=SLOW),
    ],
    ids=["plain", "no guidance", "negative prompts, one frame", "a text that is cleaned"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    folder: Path, pipe: Pipeline, call: dict[str, Any]
) -> None:
    assert pipe.recipe["num_inference_steps"] == 50
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 5.0}
    assert pipe.model.info.default_extent == {"frames": 81, "height": 480, "width": 832}
    assert to_diffusers(pipe, WanPipeline.from_pretrained(folder), **call) < 1e-5


@SLOW
def test_eulers_scheduler_gives_what_diffusers_gives(tmp_path: Path) -> None:
    euler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 5.0}
    folder = tiny.write_wan(tmp_path, scheduler=euler)
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["scheduler"] == {"name": "euler"}
    assert to_diffusers(pipe, WanPipeline.from_pretrained(folder)) < 1e-5


@pytest.mark.parametrize(
    "scales", [pytest.param((5.0, None), marks=SLOW), (4.0, 2.0)], ids=["one scale", "two scales"]
)
def test_two_networks_give_what_diffusers_gives(
    two: Path, scales: tuple[float, float | None]
) -> None:
    high, low = scales
    pipe = Pipeline.from_pretrained(two)
    assert pipe.recipe["guidance"] == {"name": "by_network", "scale": 5.0}
    timesteps = [point.t for point in pipe.composition.grid(3)[:-1]]
    assert timesteps[0] >= 900 > timesteps[-1]
    chosen = pipe.replace(guidance={"scale": high, "low_noise_scale": low})
    their = {"guidance_scale": high, "guidance_scale_2": low}
    assert to_diffusers(chosen, WanPipeline.from_pretrained(two), their=their) < 1e-5


@SLOW
def test_a_timestep_a_token_gives_what_diffusers_gives(tmp_path: Path) -> None:
    folder = tiny.write_wan(tmp_path, tokenwise=True)
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.model.info.rate == 24
    assert to_diffusers(pipe, WanPipeline.from_pretrained(folder), **LARGER) < 1e-5


@pytest.mark.parametrize(
    ("written", "last", "size"),
    [
        pytest.param({"shown": "first"}, False, SMALL, marks=SLOW),
        ({"shown": "both"}, True, SMALL),
        pytest.param({"shown": "channels", "two": True}, False, SMALL, marks=SLOW),
        pytest.param({"shown": "channels", "two": True}, True, SMALL, marks=SLOW),
        ({"tokenwise": True}, False, LARGER),
    ],
    ids=["2.1", "2.1 first and last", "2.2", "2.2 first and last", "2.2 5B"],
)
def test_frames_shown_give_what_diffusers_gives(
    tmp_path: Path, written: dict[str, Any], last: bool, size: dict[str, Any]
) -> None:
    folder = tiny.write_wan(tmp_path, "WanImageToVideoPipeline", **written)
    pipe = Pipeline.from_pretrained(folder)
    first = picture(1, size["width"], size["height"])
    own: dict[str, Any] = {"first_frame": first}
    their: dict[str, Any] = {"image": first}
    if last:
        own["last_frame"] = their["last_image"] = picture(2, size["width"], size["height"])
    peer = WanImageToVideoPipeline.from_pretrained(folder)
    assert to_diffusers(pipe, peer, own, their, **size) < 1e-5


def test_a_start_from_a_video_gives_what_diffusers_gives(folder: Path) -> None:
    """It rounds the steps down, which other flows' pipelines round up; here they are whole."""
    pipe = Pipeline.from_pretrained(folder, conditioning=["text", "video"])
    frames = [picture(i) for i in range(5)]
    peer = WanVideoToVideoPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"num_inference_steps": 4, "strength": 0.5, **SMALL}
    for output_type in ("latent", "np"):
        both = {"prompt": PROMPTS[0], "output_type": output_type, **call}
        theirs = peer(frames, generator=torch.Generator().manual_seed(3), **both).frames
        video = np.stack([np.array(frame) for frame in frames])
        images = pipe(video=video, seed=3, frames=5, **both).images
        assert apart(images, theirs) < 1e-5


def test_a_video_depends_on_its_own_prompt_frames_and_seed(tmp_path: Path) -> None:
    folder = tiny.write_wan(tmp_path, "WanImageToVideoPipeline", shown="channels", two=True)
    pipe = Pipeline.from_pretrained(folder)
    prompts = [*PROMPTS, "", "a small blue star on a yellow background at the red square"]
    firsts = [picture(i) for i in range(4)]
    lasts = [None, picture(5), None, picture(6)]
    call: dict[str, Any] = {"frames": 9, "num_inference_steps": 3, "output_type": "pt", **SMALL}
    seeds = [5, 5, 6, 7]
    frames = pipe(prompts, seed=seeds, first_frame=firsts, last_frame=lasts, **call).images
    for i, prompt in enumerate(prompts):
        own = {"first_frame": [firsts[i]], "last_frame": [lasts[i]]}
        alone = pipe([prompt], seed=seeds[i], **own, **call).images
        assert apart(alone[0], frames[i]) < 1e-5
    assert apart(frames[0], frames[1]) > 0.001


@SLOW
def test_a_first_frame_stands_where_it_was_shown(tmp_path: Path) -> None:
    folder = tiny.write_wan(tmp_path, "WanImageToVideoPipeline", tokenwise=True)
    pipe = Pipeline.from_pretrained(folder)
    first = picture(1, 32, 32)
    x = latents(pipe, first_frame=first, **LARGER)
    pixels = torch.from_numpy(np.array(first)).permute(2, 0, 1)[None, :, None] / 127.5 - 1
    assert apart(x[:, :, :1], pipe.encode(pixels)) < 1e-6


@SLOW
def test_rows_of_both_networks_may_share_a_call(two: Path) -> None:
    """As the rows of several requests do, which are at different steps."""
    from ldm_core.contracts import Call, Row

    pipe = Pipeline.from_pretrained(two)
    grid = pipe.composition.grid(3)
    x, text = torch.randn(2, 4, 2, 4, 8), torch.randn(2, 512, 32)
    rows = [Row(i, "positive", point, 0, 3) for i, point in enumerate((grid[0], grid[2]))]
    t = torch.tensor([row.point.t for row in rows])
    with torch.no_grad():
        both = pipe.model.network(Call(x, t, {"text": text}, tuple(rows)))
        for i, row in enumerate(rows):
            alone = Call(x[i : i + 1], t[i : i + 1], {"text": text[i : i + 1]}, (row,))
            assert apart(pipe.model.network(alone)[0], both[i]) < 1e-5


def test_threads_may_share_an_autoencoder(pipe: Pipeline) -> None:
    """Wan's keeps features of the frames before in the module while it goes through a video."""
    x = torch.randn(4, 1, 4, 5, 4, 8, generator=torch.Generator().manual_seed(1))
    alone = [pipe.decode(latent) for latent in x]
    decoded: dict[int, torch.Tensor] = {}

    def decode(i: int) -> None:
        decoded[i] = pipe.decode(x[i])

    threads = [threading.Thread(target=decode, args=(i,)) for i in range(len(x))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(decoded[i].equal(alone[i]) for i in range(len(x)))


@SLOW
@pytest.mark.parametrize(
    "chosen",
    [
        {"scheduler": name}
        for name in ("euler", "dpmpp_2m", "heun", "ddim", "unipc", "lcm", "euler_ancestral")
    ]
    + [
        {"attention": "chunked"},
        {"guidance": "adaptive_projected"},
        {"guidance": {"name": "classifier_free", "scale": 5.0, "rescale": 0.7}},
        {"denoisers": ["clip_x0"]},
        {"converters": ["vae_slicing", "text_cache", "fused_qkv"]},
    ],
    ids=lambda chosen: str(chosen),
)
def test_what_is_chosen_by_name_serves_a_video(two: Path, chosen: dict[str, Any]) -> None:
    x = latents(Pipeline.from_pretrained(two, **chosen))
    assert x.isfinite().all()
    assert 0.1 < x.std() < 20


@SLOW
def test_another_attention_gives_the_same(pipe: Pipeline) -> None:
    assert apart(latents(pipe.replace(attention="chunked")), latents(pipe)) < 1e-5


def test_one_program_for_both_networks_is_refused(two: Path) -> None:
    with pytest.raises(LdmError, match="one network down to the timestep 900"):
        compose({"model": str(two), "converters": ["whole_loop"]}, installed())


def test_a_scale_for_each_network_needs_two(folder: Path) -> None:
    with pytest.raises(LdmError, match="for models of two networks"):
        compose({"model": str(folder), "guidance": "by_network"}, installed())


def test_no_scale_for_either_network_is_no_guidance(two: Path) -> None:
    guidance = {"name": "by_network", "scale": 5.0, "low_noise_scale": 3.0}
    guided = compose({"model": str(two), "guidance": guidance}, installed())
    neutral = guided.guidance.neutral
    assert neutral is not None
    none = compose({"model": str(two), "guidance": {**guidance, **neutral}}, installed())
    grid = guided.grid(4)
    assert {point.t < 900 for point in grid} == {True, False}
    for point in grid[:-1]:
        assert guided.guidance.branches(point) == ("negative", "positive")
        assert none.guidance.branches(point) == ("positive",)


def test_one_autoencoder_is_asked_once_at_a_time(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the codec of videos and by that of pictures: both would go through its memory of the
    frames before."""
    model, now, most = pipe.model, [0], [0]
    module = model.parts["vae"].module
    encode = module.encode

    def slow(x: torch.Tensor) -> Any:
        now[0] += 1
        most[0] = max(most[0], now[0])
        time.sleep(0.1)
        now[0] -= 1
        return encode(x)

    monkeypatch.setattr(module, "encode", slow)
    video = torch.zeros(1, 3, 5, 16, 32)

    def of_video() -> None:
        autoencoder_kl_video.encode(model, video, torch.empty, sample=False)

    def of_picture() -> None:
        autoencoder_kl_frame.encode(model, video[:, :, 0], torch.empty, sample=False)

    threads = [threading.Thread(target=target) for target in (of_video, of_picture)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert frame_memory.alone(module) is frame_memory.alone(module)
    assert frame_memory.alone(module) is not frame_memory.alone(torch.nn.Identity())


def test_letters_that_are_read_otherwise_cannot_be_weighed(pipe: Pipeline) -> None:
    text = pipe.model.abilities["text"]
    assert text.tokens("a &lt;star") is None
    spans = text.tokens("  a red star")["text"]
    assert [("  a red star"[start:end]).strip() for start, end in spans[:3]] == ["a", "red", "star"]
    assert plain(" a &amp;lt;\n\tred ") == "a < red"


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer/config.json", {"in_channels": 5}, "takes 5 channels and returns 4"),
        ("transformer/config.json", {"out_channels": 8}, "takes 4 channels and returns 8"),
        ("transformer/config.json", {"text_dim": 48}, "width 48, and UMT5 gives 32"),
        ("transformer/config.json", {"patch_size": [2, 2]}, "should be three numbers"),
        ("transformer/config.json", {"image_dim": 24}, "takes no channels of them"),
        ("vae/config.json", {"latents_std": [1.0]}, "4 channels, and its latents_std 1 numbers"),
        ("vae/config.json", {"temperal_downsample": [False, True]}, "shrink a video by 2 in time"),
        ("vae/config.json", {"scale_factor_spatial": 8}, "4 in space; its config says 4 and 8"),
        ("vae/config.json", {"in_channels": 12}, "should take and give 3 channels"),
        ("model_index.json", {"boundary_ratio": 0.9}, "has the second alone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_components_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    copy = linked(folder, tmp_path)
    edit(copy / file, **changes)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(copy)}, installed())


def linked(folder: Path, tmp_path: Path) -> Path:
    """A copy of a folder, weights as links."""
    for path in folder.rglob("*"):
        copy = tmp_path / path.relative_to(folder)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        elif path.suffix == ".json":
            copy.write_bytes(path.read_bytes())
        else:
            copy.symlink_to(path)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_dim": 32}, "width 32 from CLIP, which gives 24"),
        ({"pos_embed_seq_len": 9}, "those of a first and a last frame are 10"),
    ],
)
def test_an_image_encoder_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = tiny.write_wan(tmp_path, "WanImageToVideoPipeline", shown="first")
    edit(folder / "transformer" / "config.json", **changes)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


@pytest.mark.parametrize(
    ("shown", "inputs", "message"),
    [
        ("first", {}, "needs 'first_frame'"),
        ("first", {"first_frame": "a", "last_frame": "b"}, "first frame of a video alone"),
        ("both", {"first_frame": "a"}, "needs a last_frame beside"),
        ("first", {"first_frame": "small"}, "is 8x8 pixels and 32x16 is to be made"),
        ("channels", {"first_frame": "a", "last_frame": "b", "frames": 1}, "has no last_frame"),
    ],
)
def test_frames_that_cannot_be_shown_are_refused(
    tmp_path: Path, shown: str, inputs: dict[str, Any], message: str
) -> None:
    folder = tiny.write_wan(tmp_path, "WanImageToVideoPipeline", shown=shown)
    pictures = {"a": picture(1), "b": picture(2), "small": picture(3, 8, 8)}
    extent = {**SMALL, "frames": inputs.get("frames", 5)}
    inputs = {name: pictures[value] for name, value in inputs.items() if name != "frames"}
    composition = compose({"model": str(folder)}, installed())
    with pytest.raises(LdmError, match=message):
        composition.plan({"prompt": "a red star", **inputs}, [1], extent)


@pytest.mark.parametrize(
    ("extent", "message"),
    [
        ({"frames": 6, **SMALL}, "its frames must be 1 and then every 4"),
        ({"frames": 5, "height": 12, "width": 32}, "its height must be a multiple of 8"),
        ({"frames": 5, "height": 16, "width": 8 * 1025}, "at most 8192"),
    ],
)
def test_a_size_that_no_latent_has_is_refused(
    pipe: Pipeline, extent: dict[str, int], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        pipe.composition.plan({"prompt": "a red star"}, [1], extent)


@SLOW
def test_what_diffusers_errs_in(tmp_path: Path, two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/explanation/diffusers.md says of its pipelines of Wan."""
    for module in (pipeline_wan_i2v, pipeline_wan_video2video):
        monkeypatch.setattr(module, "ftfy", None)
        monkeypatch.delattr(module, "ftfy")
        with pytest.raises(NameError):
            module.prompt_clean("a red star")
    assert pipeline_wan.prompt_clean("a red star") == "a red star"
    call = {"num_inference_steps": 2, "output_type": "latent", "num_frames": 5}
    peer = WanPipeline.from_pretrained(two)
    peer.set_progress_bar_config(disable=True)

    def scaled(*scales: float) -> torch.Tensor:
        high, low = scales
        of_seed = {"generator": torch.Generator().manual_seed(1), **SMALL}
        given = {"guidance_scale": high, "guidance_scale_2": low}
        frames: torch.Tensor = peer("a red star", **given, **of_seed, **call).frames
        return frames

    assert scaled(1.0, 3.0).equal(scaled(1.0, 1.0))
    assert not scaled(1.5, 3.0).equal(scaled(1.5, 1.0))


@SLOW
def test_diffusers_5b_passes_over_a_last_frame(tmp_path: Path) -> None:
    folder = tiny.write_wan(tmp_path, "WanImageToVideoPipeline", tokenwise=True)
    peer = WanImageToVideoPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    call = {"num_inference_steps": 2, "output_type": "latent", "num_frames": 5, **LARGER}

    def ending(last: Image.Image | None) -> torch.Tensor:
        first, generator = picture(1, 32, 32), torch.Generator().manual_seed(1)
        frames: torch.Tensor = peer(
            first, "a red star", last_image=last, generator=generator, **call
        ).frames
        return frames

    assert ending(None).equal(ending(picture(2, 32, 32)))
    composition = compose({"model": str(folder)}, installed())
    inputs = {
        "prompt": "a star",
        "first_frame": picture(1, 32, 32),
        "last_frame": picture(2, 32, 32),
    }
    with pytest.raises(LdmError, match="first frame of a video alone"):
        composition.plan(inputs, [1], {"frames": 5, **LARGER})


@SLOW
def test_a_lora_gives_what_diffusers_gives(folder: Path, two: Path, tmp_path: Path) -> None:
    file = write_lora(WanPipeline, folder, tmp_path, {"transformer": ATTENTION}, seed=1)
    peer = WanPipeline.from_pretrained(folder)
    peer.load_lora_weights(file)
    plain = Pipeline.from_pretrained(folder)
    changed = plain.replace(loras=[str(file)])
    assert to_diffusers(changed, peer) < 1e-5
    assert apart(latents(changed), latents(plain)) > 1e-3
    with pytest.warns(LdmWarning, match="the transformer_2 beside it answers as it was"):
        Pipeline.from_pretrained(two, loras=[str(file)])
