"""The Stable Diffusion XL family: Diffusers' own pictures from the same folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.plugins.registry import installed
from peers import apart, distance_to_peer, far

IMG2IMG, INPAINT = "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_stable_diffusion_xl(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def pipe(base: Path) -> Pipeline:
    return Pipeline.from_pretrained(base)


@pytest.fixture(scope="module")
def refiner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refiner")
    return tiny.write_stable_diffusion_xl(folder, pipeline=IMG2IMG, refiner=True)


def latents(pipe: Pipeline, *prompts: str, **call: Any) -> torch.Tensor:
    call = {"num_inference_steps": 2, "seed": 1, "output_type": "latent", **call}
    found: torch.Tensor = pipe(list(prompts) or "a red star", **call).images
    return found


@pytest.mark.parametrize(
    "call",
    [{}, {"negative_prompt": ["green", ""], "width": 24}, {"guidance_scale": 1.0}],
    ids=["no negative prompt", "negative prompt", "no guidance"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    base: Path, pipe: Pipeline, call: dict[str, Any]
) -> None:
    assert pipe.recipe["num_inference_steps"] == 50
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 5.0}
    theirs = StableDiffusionXLPipeline.from_pretrained(base)
    assert distance_to_peer(pipe, theirs, **call) < 1e-5


@pytest.mark.parametrize(
    ("own", "their"),
    [
        ({"original_size": "8x40"}, {"original_size": (40, 8)}),
        (
            {"original_size": [(40, 8)] * 2, "target_size": "24x20"},
            {"original_size": (40, 8), "target_size": (20, 24)},
        ),
        ({"crops_coords_top_left": "3, 50"}, {"crops_coords_top_left": (3, 50)}),
    ],
    ids=["original size", "both sizes", "crop"],
)
def test_sizes_are_told_as_in_diffusers(
    base: Path, pipe: Pipeline, own: dict[str, Any], their: dict[str, Any]
) -> None:
    theirs = StableDiffusionXLPipeline.from_pretrained(base)
    assert distance_to_peer(pipe, theirs, own, their) < 1e-5
    two = ("a red star", "a blue circle")
    assert apart(latents(pipe, *two, **own), latents(pipe, *two)) > 1e-4


def test_the_negative_branch_may_be_told_other_sizes(base: Path, pipe: Pipeline) -> None:
    theirs = StableDiffusionXLPipeline.from_pretrained(base)
    theirs.set_progress_bar_config(disable=True)
    told = {"original": (40, 8), "target": (20, 24)}
    # one image: for more, Diffusers mixes up which branch is told which sizes
    expected = theirs(
        "a red star",
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(1),
        output_type="latent",
        negative_crops_coords_top_left=(3, 50),
        **{f"negative_{name}_size": size for name, size in told.items()},
    ).images
    negative = {
        "negative_original_size": "8x40",
        "negative_target_size": "24x20",
        "negative_crops_coords_top_left": "3,50",
    }
    assert apart(latents(pipe, **negative), expected) < 1e-5
    assert apart(expected, latents(pipe)) > 1e-4
    two = latents(pipe, "a red star", "a blue star", **negative)
    assert apart(two[:1], expected) < 1e-5
    same = {name.removeprefix("negative_"): size for name, size in negative.items()}
    assert apart(latents(pipe, **same), latents(pipe, **same, **negative)) < 1e-6


def test_a_negative_prompt_that_is_empty_is_not_one_that_is_missing(tmp_path: Path) -> None:
    empty = {"negative_prompt": ""}
    zeros = Pipeline.from_pretrained(tiny.write_stable_diffusion_xl(tmp_path / "zeros"))
    assert apart(latents(zeros, **empty), latents(zeros)) > 1e-3
    encoded = Pipeline.from_pretrained(
        tiny.write_stable_diffusion_xl(
            tmp_path / "encoded", index={"force_zeros_for_empty_prompt": False}
        )
    )
    assert latents(encoded, **empty).equal(latents(encoded))
    assert apart(latents(zeros, **empty), latents(encoded)) < 1e-6
    mixed = latents(zeros, "a red star", "a red star", negative_prompt=[None, ""], seed=[1, 1])
    assert apart(mixed, torch.cat([latents(zeros), latents(zeros, **empty)])) < 1e-5


def from_noise(peer: Any, steps: int, seeds: tuple[int, ...]) -> dict[str, Any]:
    """What makes an image-to-image pipeline start from noise, as text-to-image ones do."""
    peer.scheduler.set_timesteps(steps)
    draws = [torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(s)) for s in seeds]
    noise = torch.cat(draws) * peer.scheduler.init_noise_sigma
    return {"strength": 1.0, "image": torch.zeros_like(noise), "latents": noise}


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"negative_prompt": ["green", ""]},
        {"aesthetic_score": 9.0, "negative_aesthetic_score": 1.0},
    ],
    ids=["nothing chosen", "negative prompt", "scores"],
)
def test_the_refiner_is_that_of_diffusers(refiner: Path, call: dict[str, Any]) -> None:
    ours = Pipeline.from_pretrained(refiner)
    theirs = StableDiffusionXLImg2ImgPipeline.from_pretrained(refiner)
    start = from_noise(theirs, 5, (3, 4))
    assert distance_to_peer(ours, theirs, {}, start, **call) < 1e-5
    if "aesthetic_score" in call:
        assert far(latents(ours, **call), latents(ours)) > 1e-4


def test_inpainting_is_that_of_diffusers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    images = [Image.fromarray(p) for p in pixels]
    masks = [Image.fromarray(255 * (p[..., 0] > 99).astype(np.uint8)) for p in pixels]
    folder = tiny.write_stable_diffusion_xl(tmp_path, pipeline=INPAINT, in_channels=9)
    ours = Pipeline.from_pretrained(folder)
    assert ours.recipe["guidance"]["scale"] == 7.5
    distance = distance_to_peer(
        ours,
        StableDiffusionXLInpaintPipeline.from_pretrained(folder),
        {"image": images, "mask": masks},
        {"image": images, "mask_image": masks, "strength": 1.0},
    )
    assert distance < 1e-5


def test_guidance_may_be_told_to_the_network(tmp_path: Path) -> None:
    folder = tiny.write_stable_diffusion_xl(tmp_path, time_cond_proj_dim=32)
    ours = Pipeline.from_pretrained(folder)
    assert ours.recipe["guidance"] == {"name": "embedded", "scale": 5.0}
    assert distance_to_peer(ours, StableDiffusionXLPipeline.from_pretrained(folder)) < 1e-5


def test_latents_are_normalised_by_the_statistics_of_each_channel(tmp_path: Path) -> None:
    statistics = {"latents_mean": [0.1, -0.2, 0.3, 0.4], "latents_std": [1.0, 2.0, 0.5, 3.0]}
    folder = tiny.write_stable_diffusion_xl(tmp_path, vae_config=statistics)
    ours = Pipeline.from_pretrained(folder)
    assert distance_to_peer(ours, StableDiffusionXLPipeline.from_pretrained(folder)) < 1e-5
    mean = ours.replace(encoder={"sample": False})
    pixels = torch.rand(1, 3, 16, 16)
    raw = ours.model.parts["vae"].module.encode(pixels * 2 - 1).latent_dist.mean
    found, means, stds = mean.encode(pixels), *(torch.tensor(s) for s in statistics.values())
    expected = (raw - means[:, None, None]) / stds[:, None, None] * 0.13025
    torch.testing.assert_close(found, expected)


def test_an_autoencoder_that_overflows_in_float16_stays_in_float32(
    base: Path, tmp_path: Path
) -> None:
    half = Pipeline.from_pretrained(base, dtype="float16", compute_dtype="float16")
    assert half.model.parts["unet"].module.dtype == torch.float16
    theirs = StableDiffusionXLPipeline.from_pretrained(base, torch_dtype=torch.float16)
    x0 = torch.randn(1, 4, 8, 8)
    decoded = theirs.vae.float().decode(x0 / theirs.vae.config.scaling_factor).sample
    torch.testing.assert_close(half.decode(x0), decoded)
    safe = tiny.write_stable_diffusion_xl(tmp_path, vae_config={"force_upcast": False})
    kept = Pipeline.from_pretrained(safe, dtype="float16", compute_dtype="float16")
    assert kept.model.parts["vae"].module.dtype == torch.float16


def test_what_the_encoders_leave_out_is_named_once(pipe: Pipeline) -> None:
    with pytest.warns(LdmWarning, match="'star on a green background' is left out") as caught:
        latents(pipe, "a large red circle and a small blue star on a green background")
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"original_size": 24}, "original_size should be .* not 24"),
        ({"original_size": "24"}, 'original_size should be text such as "1024x768"'),
        ({"target_size": "0x24"}, "target_size should be"),
        ({"negative_target_size": [(16, 24.5)]}, "negative_target_size should be"),
        ({"crops_coords_top_left": "8x8"}, 'crops_coords_top_left should be text such as "0,64"'),
        ({"crops_coords_top_left": [(-1, 0)]}, "crops_coords_top_left should be"),
        ({"aesthetic_score": 6.0}, "takes no 'aesthetic_score'"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(map(str, *value.items())),
)
def test_sizes_that_are_none_are_refused(base: Path, inputs: dict[str, Any], message: str) -> None:
    composition = compose({"model": str(base)}, installed())
    with pytest.raises(LdmError, match=message):
        composition.plan({"prompt": "a red star", **inputs}, [1])


def test_a_score_that_is_no_number_is_refused(refiner: Path) -> None:
    composition = compose({"model": str(refiner)}, installed())
    for score in ("high", float("nan"), True):
        with pytest.raises(LdmError, match=r"aesthetic_score should be a number, such as 2\.5"):
            composition.plan({"prompt": "a star", "negative_aesthetic_score": score}, [1])


def test_sizes_must_be_told(base: Path) -> None:
    with pytest.raises(LdmError, match="must be conditioned by 'size'"):
        compose({"model": str(base), "conditioning": ["text"]}, installed())


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"text_encoder_2": [None, None]}, "text_encoder_2 should be a CLIPTextModelWithProj"),
        ({"text_encoder": [None, None]}, "states of width 40, and the text encoder gives 24"),
        ({"tokenizer": [None, None]}, "has a text_encoder and no tokenizer"),
        ({"requires_aesthetics_score": True}, "takes 68 values beside the time.* 5 sizes of 8"),
    ],
    ids=["text encoder 2", "text encoder", "tokenizer", "score"],
)
def test_a_folder_whose_parts_do_not_fit_is_refused(
    base: Path, tmp_path: Path, index: dict[str, Any], message: str
) -> None:
    folder = shutil.copytree(base, tmp_path / "model")
    file = folder / "model_index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **index}))
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())
