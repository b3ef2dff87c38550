"""Five families of pictures: Diffusers' own pictures from the same folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from peers import apart, distance_to_peer

LONG = "a large blue circle at the small square on the yellow background"
PROMPTS = ["a red star", LONG, "star", "a green square on the small star"]


@dataclass(frozen=True)
class Kind:
    """A kind of folder.

    Attributes:
        pipeline: Diffusers' class.
        steps, guidance: its defaults.
        size: small, for tests.
        their: what Diffusers' pipeline alone is called with.
        sample_size: that whose area its pipeline gives every picture, whatever is asked.
        padded: it pads a caption to the longest of a batch, and attends to that.
    """

    write: Callable[..., Path]
    pipeline: str
    steps: int
    guidance: Mapping[str, Any]
    size: Mapping[str, int]
    their: Mapping[str, Any] = field(default_factory=dict)
    padded: bool = False
    sample_size: float | None = None


KINDS = {
    "Lumina 2": Kind(
        tiny.write_lumina_2,
        "Lumina2Pipeline",
        30,
        {"name": "renormed", "scale": 4.0, "over": "line"},
        {"width": 48, "height": 32},
    ),
    "Sana": Kind(
        tiny.write_sana,
        "SanaPipeline",
        20,
        {"name": "classifier_free", "scale": 4.5},
        {"width": 64, "height": 32},
        {"use_resolution_binning": False},
    ),
    "AuraFlow": Kind(
        tiny.write_aura_flow,
        "AuraFlowPipeline",
        50,
        {"name": "classifier_free", "scale": 3.5},
        {"width": 24, "height": 16},
    ),
    "CogView 4": Kind(
        tiny.write_cogview_4,
        "CogView4Pipeline",
        50,
        {"name": "classifier_free", "scale": 5.0},
        {"width": 32, "height": 16},
        padded=True,
    ),
    "HiDream": Kind(
        tiny.write_hidream,
        "HiDreamImagePipeline",
        50,
        {"name": "classifier_free", "scale": 5.0},
        {"width": 24, "height": 16},
        sample_size=9.8,
    ),
}


class OneByOne:
    """A pipeline of Diffusers that is asked for one picture after the other."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.set_progress_bar_config = pipeline.set_progress_bar_config

    def __call__(self, *, prompt: list[str], generator: list[Any], **call: Any) -> Any:
        negative = call.pop("negative_prompt", [None] * len(prompt))
        images = [
            self.pipeline([one], negative_prompt=led and [led], generator=[own], **call).images
            for one, led, own in zip(prompt, negative, generator, strict=True)
        ]
        return SimpleNamespace(images=torch.cat([torch.as_tensor(image) for image in images]))


@dataclass(frozen=True)
class Loaded:
    kind: Kind
    folder: Path
    pipe: Pipeline
    peer: Any


@pytest.fixture(scope="module", params=KINDS)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    kind = KINDS[request.param]
    folder = kind.write(tmp_path_factory.mktemp("model"))
    peer = getattr(diffusers, kind.pipeline).from_pretrained(folder)
    if kind.sample_size is not None:
        peer.default_sample_size = kind.sample_size
    peer = OneByOne(peer) if kind.padded else peer
    return Loaded(kind, folder, Pipeline.from_pretrained(folder), peer)


def latents(pipe: Pipeline, prompts: list[str], **call: Any) -> torch.Tensor:
    call = {"num_inference_steps": 2, "seed": 1, "output_type": "latent", **call}
    found: torch.Tensor = pipe(prompts, **call).images
    return found


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"prompt": ["A Star ", LONG], "negative_prompt": ["Green", ""]},
        {"guidance_scale": 1.0, "num_inference_steps": 2},
    ],
    ids=["plain", "negative prompts, captions of differing length", "no guidance"],
)
def test_nothing_chosen_gives_what_diffusers_gives(loaded: Loaded, call: dict[str, Any]) -> None:
    kind, pipe = loaded.kind, loaded.pipe
    assert pipe.recipe["num_inference_steps"] == kind.steps
    assert pipe.recipe["guidance"] == kind.guidance
    call = {"num_inference_steps": 3, **kind.size, **call}
    assert distance_to_peer(pipe, loaded.peer, their=kind.their, **call) < 1e-5


def test_an_image_depends_on_its_own_prompt_and_seed(loaded: Loaded) -> None:
    seeds, size = [5, 6, 5, 8], loaded.kind.size
    four = latents(loaded.pipe, PROMPTS, seed=seeds, **size)
    assert apart(four[0], four[2]) > 0.001
    for one, prompt, seed in zip(four, PROMPTS, seeds, strict=True):
        assert apart(latents(loaded.pipe, [prompt], seed=seed, **size)[0], one) < 1e-5


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp_2m", "heun", "unipc", "ddim", "lcm"])
def test_ordinary_schedulers_run(loaded: Loaded, scheduler: str) -> None:
    pipe = loaded.pipe.replace(scheduler=scheduler)
    found = latents(pipe, ["a red star"], num_inference_steps=4, **loaded.kind.size)
    assert found.isfinite().all()
    assert 0.1 < found.std() < 10


def test_another_attention_serves_the_network(loaded: Loaded) -> None:
    chunks = {"name": "chunked", "query_chunk": 7, "key_chunk": 50}
    size = loaded.kind.size
    other = latents(loaded.pipe.replace(attention=chunks), PROMPTS[:2], **size)
    plain = latents(loaded.pipe, PROMPTS[:2], **size)
    assert not other.equal(plain)  # it was asked
    assert apart(other, plain) < 1e-5


def test_words_have_weights(loaded: Loaded) -> None:
    size = loaded.kind.size
    if loaded.pipe.model.abilities["text"].tokens("") is None:
        with pytest.raises(LdmError, match="cannot be weighed"):
            latents(loaded.pipe, ["a (red:3.0) star"], **size)
        return
    spans = loaded.pipe.model.abilities["text"].tokens("a red star")["text"]
    plain = latents(loaded.pipe, ["a red star"], **size)
    assert apart(latents(loaded.pipe, ["a (red:3.0) star"], **size), plain) > 1e-4
    words = "".join("a red star"[slice(*span)] for span in spans)
    assert words.replace(" ", "") == "aredstar"
    condition = loaded.pipe.model.abilities["text"].encode(["a red star"])
    assert condition["text"].shape[1] == len(spans)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


NETWORK = "transformer/config.json"
SCHEDULER = "scheduler/scheduler_config.json"
NO_FLOW = {"use_flow_sigmas": False, "prediction_type": "epsilon"}


@pytest.mark.parametrize(
    ("name", "file", "changes", "message"),
    [
        ("Lumina 2", NETWORK, {"in_channels": 16}, "takes 16 channels and the autoencoder"),
        ("Lumina 2", NETWORK, {"cap_feat_dim": 64}, "width 64, and Gemma 2 gives 32"),
        ("Lumina 2", NETWORK, {"axes_dim_rope": [4, 4, 4]}, "make 16, the width of its heads"),
        ("Lumina 2", NETWORK, {"axes_lens": [256, 64, 64]}, "more than 256 places"),
        ("Sana", NETWORK, {"in_channels": 8}, "takes 8 channels and the autoencoder"),
        ("Sana", NETWORK, {"caption_channels": 64}, "width 64, and Gemma 2 gives 32"),
        ("Sana", NETWORK, {"guidance_embeds": True}, "distilled to take its guidance"),
        ("AuraFlow", NETWORK, {"in_channels": 8}, "takes 8 channels and the autoencoder"),
        ("AuraFlow", NETWORK, {"joint_attention_dim": 64}, "width 64, and T5 gives 32"),
        ("Lumina 2", SCHEDULER, {"_class_name": "DDIMScheduler"}, "along a rectified flow"),
        ("AuraFlow", SCHEDULER, {"_class_name": "DDIMScheduler"}, "along a rectified flow"),
        ("Sana", SCHEDULER, {"_class_name": "DDIMScheduler", **NO_FLOW}, "a rectified flow"),
        ("CogView 4", NETWORK, {"in_channels": 8}, "takes 8 channels and the autoencoder"),
        ("CogView 4", NETWORK, {"text_embed_dim": 64}, "width 64, and GLM gives 32"),
        ("CogView 4", SCHEDULER, {"use_dynamic_shifting": False}, "by the size of the picture"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_components_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, file: str, changes: dict[str, Any], message: str
) -> None:
    folder = KINDS[name].write(tmp_path)
    edit(folder / file, **changes)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


def test_an_instruction_stands_before_the_prompt_alone(tmp_path: Path) -> None:
    """And the cache of texts keeps the two apart."""
    pipe = Pipeline.from_pretrained(tiny.write_lumina_2(tmp_path))
    text = pipe.model.abilities["text"]
    said, led = text.encode(["star"]), text.for_negative().encode(["star"])
    assert said["text_mask"].sum() > 50 > led["text_mask"].sum()
    call: dict[str, Any] = {"negative_prompt": "a red star", "width": 32, "height": 32}
    plain = latents(pipe, ["a red star"], **call)
    cached = pipe.replace(converters=["text_cache"])
    assert latents(cached, ["a red star"], **call).equal(plain)
    assert latents(cached, ["a red star"], **call).equal(plain)


@pytest.mark.parametrize("steps", [1, 2, 7, 28, 50, 100, 214, 999])
def test_the_points_of_cogview_4_are_those_of_diffusers(tmp_path: Path, steps: int) -> None:
    folder = tiny.write_cogview_4(tmp_path)
    composition = compose({"model": str(folder)}, installed())
    grid = composition.grid(steps, {"width": 64, "height": 32})
    peer = diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    timesteps = np.linspace(1000, 1.0, steps).astype(np.int64).astype(np.float32)
    patches = 64 * 32 / (2 * 2) ** 2
    peer.set_timesteps(
        timesteps=timesteps, sigmas=timesteps / 1000, mu=0.25 + 0.75 * (patches / 256) ** 0.5
    )
    assert apart([point.sigma for point in grid], peer.sigmas) < 1e-6


def test_the_autoencoder_of_sana_gives_back_what_diffusers_does(tmp_path: Path) -> None:
    folder = tiny.write_sana(tmp_path)
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["encoder"] == pipe.recipe["decoder"] == {"name": "autoencoder_dc"}
    autoencoder = diffusers.AutoencoderDC.from_pretrained(folder / "vae")
    pixels = torch.rand(2, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        latent = autoencoder.encode(pixels).latent * autoencoder.config.scaling_factor
        back = autoencoder.decode(latent / autoencoder.config.scaling_factor).sample
    found = pipe.composition.encoder(pipe.model, pixels, lambda: torch.zeros(()))
    assert apart(found, latent) < 1e-6
    assert apart(pipe.composition.decoder(pipe.model, found), back) < 1e-6


def test_a_picture_starts_sana(tmp_path: Path) -> None:
    """Of which Diffusers has no class: its own scheduler, by hand."""
    folder = tiny.write_sana(tmp_path)
    pipe = Pipeline.from_pretrained(folder).replace(conditioning=["text", "image"])
    picture = torch.rand(3, 16, 16)
    call: dict[str, Any] = {"image": picture, "width": 16, "height": 16}
    kept = latents(pipe, ["a red star"], strength=0.0, **call)
    autoencoder = diffusers.AutoencoderDC.from_pretrained(folder / "vae")
    with torch.no_grad():
        latent = autoencoder.encode(picture[None] * 2 - 1).latent * 0.41407
    assert apart(kept, latent) < 1e-5


@pytest.mark.parametrize("write", [tiny.write_z_image, tiny.write_lumina_2, tiny.write_hidream])
@pytest.mark.parametrize(
    "converter",
    [
        {"name": "whole_loop", "backend": "eager"},
        {"name": "openvino"},
        {"name": "compile", "backend": "eager", "regional": False},
    ],
    ids=lambda value: value["name"],
)
def test_no_program_stands_for_a_network_that_counts_words(
    tmp_path: Path, write: Callable[..., Path], converter: dict[str, Any]
) -> None:
    """One that was traced would go on with the first caption's number of them."""
    folder = write(tmp_path)
    chosen = {"model": str(folder), "converters": [converter], "guidance": "classifier_free"}
    with pytest.raises(LdmError, match="computes more or less by what it is given"):
        Pipeline.from_composition(compose(chosen, installed())).model  # noqa: B018


def test_sana_decodes_in_tiles_as_diffusers_does(tmp_path: Path) -> None:
    folder = tiny.write_sana(tmp_path)
    tiling = {"name": "vae_tiling", "size": 32, "overlap": 0.25}
    pipe = Pipeline.from_pretrained(folder, converters=[tiling])
    autoencoder = diffusers.AutoencoderDC.from_pretrained(folder / "vae")
    autoencoder.enable_tiling(32, 32, 24, 24)
    z = torch.randn(1, 4, 16, 12)
    with torch.no_grad():
        theirs = autoencoder.decode(z / autoencoder.config.scaling_factor).sample
        whole = diffusers.AutoencoderDC.from_pretrained(folder / "vae").decode(
            z / autoencoder.config.scaling_factor
        )
    found = pipe.composition.decoder(pipe.model, z)
    assert apart(found, theirs) < 1e-6
    assert apart(found, whole.sample) > 1e-4


def test_sana_is_read_in_eight_bits(tmp_path: Path) -> None:
    """But for its convolutions of each channel by itself."""
    folder = tiny.write_sana(tmp_path)
    plain = latents(Pipeline.from_pretrained(folder), ["a red star"], width=32, height=32)
    pipe = Pipeline.from_pretrained(folder, converters=[{"name": "quantize"}])
    assert 1e-6 < apart(latents(pipe, ["a red star"], width=32, height=32), plain) < 0.05
