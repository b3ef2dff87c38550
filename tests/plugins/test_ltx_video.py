"""The LTX-Video family: Diffusers' own videos from the same folders."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import LTXConditionPipeline, LTXImageToVideoPipeline, LTXPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

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


def test_later_versions_give_what_diffusers_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the noise that Diffusers, where nothing is chosen, adds to the picture before each
    step."""
    monkeypatch.setattr(
        DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean
    )
    static = {"shift": 1.0, "use_dynamic_shifting": False}
    folder = tiny.write_ltx_video(tmp_path, "LTXConditionPipeline", scheduler=static)
    pipe = Pipeline.from_pretrained(folder)
    pipeline = LTXConditionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"num_inference_steps": 4, "output_type": "np", **SMALL}
    text = {"prompt": list(PROMPTS), "frame_rate": 12, **call}
    theirs = pipeline(num_frames=9, generator=generators(2), **text).frames
    assert apart(pipe(seed=3, frames=9, **text).images, theirs) < 1e-5
    shown = pipe.replace(conditioning=["text", "frame_rate", "first_frame"])
    image = picture(1, 32, 32)
    one = {"prompt": PROMPTS[0], "frame_rate": 12, **call}
    found = shown(first_frame=image, seed=3, frames=9, **one).images
    for chosen, least, most in (({"image_cond_noise_scale": 0.0}, 0, 1e-5), ({}, 1e-3, 0.1)):
        theirs = pipeline(
            image=image, num_frames=9, generator=generators(1)[0], **chosen, **one
        ).frames
        assert least <= apart(found, theirs) < most


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
