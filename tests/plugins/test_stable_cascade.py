"""Stable Cascade: Diffusers' own embeddings, latents and pictures from the same folders."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    StableCascadeDecoderPipeline,
    StableCascadePriorPipeline,
    StableCascadeUNet,
)
from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel
from diffusers.pipelines.stable_cascade import pipeline_stable_cascade_prior as stage
from diffusers.schedulers import DDPMWuerstchenScheduler, scheduling_ddpm_wuerstchen
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.numerics.seeded_noise import SeededNoise
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared.cascade_prior import SEED
from ldm_plugins.shared.cosine_schedule import CosineSchedule
from peers import apart, distance_to_peer
from tiny.stable_cascade import EMBEDDINGS, edit
from video_peers import PROMPTS, alone

SIZE: dict[str, Any] = {"height": 32, "width": 48}
SHOWN = torch.randn(4, EMBEDDINGS, 4, 6, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("cascade")
    return tiny.write_stable_cascade(folder / "decoder"), tiny.write_cascade_prior(folder / "prior")


@pytest.fixture(scope="module")
def pipe(folders: tuple[Path, Path]) -> Pipeline:
    return Pipeline.from_pretrained(folders[0])


def decoder_of(folder: Path) -> StableCascadeDecoderPipeline:
    """Diffusers' pipeline, whose parts are read one by one: it looks for the autoencoder's class
    in a library ``wuerstchen``, as published folders say, which it does not always find."""
    peer = StableCascadeDecoderPipeline(
        decoder=StableCascadeUNet.from_pretrained(folder / "decoder"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        text_encoder=CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder"),
        scheduler=DDPMWuerstchenScheduler.from_pretrained(folder / "scheduler"),
        vqgan=PaellaVQModel.from_pretrained(folder / "vqgan"),
        latent_dim_scale=json.loads((folder / "model_index.json").read_text())["latent_dim_scale"],
    )
    peer.set_progress_bar_config(disable=True)
    return peer


def with_prior(pipe: Pipeline, prior: Path, **options: Any) -> Pipeline:
    text, given = pipe.recipe["conditioning"]
    return pipe.replace(conditioning=[text, {**given, "prior": str(prior), **options}])


def test_nothing_chosen_gives_what_diffusers_gives(
    folders: tuple[Path, Path], pipe: Pipeline
) -> None:
    peer = decoder_of(folders[0])
    assert pipe.model.info.default_extent == {"height": 192, "width": 192}
    own: dict[str, Any] = {"image_embeddings": [*SHOWN[:2]], **SIZE}
    their = {"image_embeddings": SHOWN[:2]}
    assert distance_to_peer(pipe, peer, own, their, num_inference_steps=10) < 1e-5
    said = {"guidance_scale": 3.0, "negative_prompt": ["a star", "the large background"]}
    assert distance_to_peer(pipe, peer, own, their, **said) < 1e-5


@pytest.mark.parametrize("scale", [4.0, 1.0])
def test_the_prior_draws_what_diffusers_draws(
    folders: tuple[Path, Path], pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    """Both stages, with a noise for the prior that is drawn here."""
    prior = StableCascadePriorPipeline.from_pretrained(folders[1])
    decoder = decoder_of(folders[0])
    noise = SeededNoise([seed ^ SEED for seed in (3, 4)], (EMBEDDINGS, 4, 6), torch.device("cpu"))

    def drawn(shape: Sequence[int], **options: Any) -> torch.Tensor:
        assert tuple(shape) == (2, EMBEDDINGS, 4, 6)
        return noise()

    said = {"negative_prompt": ["a star", "the background"]}
    call: dict[str, Any] = {"prompt": list(PROMPTS), **said}
    prior.set_progress_bar_config(disable=True)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "randn_tensor", drawn)
        patch.setattr(scheduling_ddpm_wuerstchen, "randn_tensor", drawn)
        embeddings = prior(**call, **SIZE, num_inference_steps=7, guidance_scale=scale)
    shown = embeddings.image_embeddings
    ours = with_prior(pipe, folders[1], prior_steps=7, prior_guidance_scale=scale)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    theirs = decoder(
        shown, **call, generator=generators, num_inference_steps=4, output_type="latent"
    ).images
    made = ours(**call, **SIZE, seed=3, num_inference_steps=4, output_type="latent").images
    assert apart(made, theirs) < 1e-5
    given = pipe(
        **call, **SIZE, image_embeddings=[*shown], seed=3, num_inference_steps=4,
        output_type="latent",
    ).images  # fmt: skip
    assert apart(given, theirs) < 1e-5


def test_a_picture_depends_on_its_own_inputs_and_seed(
    folders: tuple[Path, Path], pipe: Pipeline
) -> None:
    prompts = {"prompt": [*PROMPTS, "", "a blue circle"]}
    assert alone(pipe, {**prompts, "image_embeddings": [*SHOWN]}, **SIZE) < 1e-5
    drawn = with_prior(pipe, folders[1], prior_steps=3).replace(
        guidance={"name": "classifier_free", "scale": 2.0}
    )
    assert alone(drawn, prompts, **SIZE) < 1e-5


def test_text_and_embeddings_are_both_seen(folders: tuple[Path, Path], pipe: Pipeline) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent", **SIZE}
    one = pipe("a star", image_embeddings=SHOWN[0], **call).images
    assert apart(pipe("a star", image_embeddings=SHOWN[1], **call).images, one) > 1e-3
    assert apart(pipe("a circle", image_embeddings=SHOWN[0], **call).images, one) > 1e-4
    heavy = r"a \(star\)"  # plain text
    assert pipe(heavy, image_embeddings=SHOWN[0], **call).images.isfinite().all()
    with pytest.raises(LdmError, match="words of this model's prompts cannot be weighed"):
        pipe("a (star:1.5)", image_embeddings=SHOWN[0], **call)


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp_2m", "heun", "ddim", "unipc", "lcm"])
def test_ordinary_schedulers_run_on_it(pipe: Pipeline, scheduler: str) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 4, "output_type": "latent", **SIZE}
    made = pipe.replace(scheduler=scheduler)("a star", image_embeddings=SHOWN[0], **call).images
    assert made.isfinite().all()
    assert 0.01 < made.std() < 500  # a random network's x0 is large where alpha is 0.01


def test_the_codec_is_diffusers_own(pipe: Pipeline) -> None:
    vqgan = pipe.model.parts["vqgan"].module
    scale = vqgan.config.scale_factor
    latents = torch.randn(2, 4, 4, 6) / scale
    with torch.no_grad():
        expected = vqgan.decode(latents * scale).sample.clamp(0, 1)
        pixels = torch.rand(2, 3, 16, 24)
        encoded = vqgan.encode(pixels).latents / scale
    torch.testing.assert_close(pipe.decode(latents) / 2 + 0.5, expected)
    torch.testing.assert_close(pipe.encode(pixels), encoded)


@pytest.mark.parametrize("scaler", [1.0, 2.5, 0.5])
def test_the_noise_schedule_is_diffusers_own(scaler: float) -> None:
    schedule, peer = CosineSchedule(scaler), DDPMWuerstchenScheduler(scaler)
    for t in (0.0, 1.0, 3.0, 40.0, 500.0, 900.0, 999.0, 1000.0):
        point = schedule.at(t)
        expected = float(peer._alpha_cumprod(torch.tensor([t / 1000], dtype=torch.float64), "cpu"))
        assert math.isclose(point.alpha**2, expected, rel_tol=1e-4, abs_tol=2e-7)
        assert math.isclose(point.alpha**2 + point.sigma**2, 1)
        back = schedule.at_ratio(point.ratio)
        assert math.isclose(schedule.at(back.t).ratio, point.ratio, rel_tol=1e-6)
    inside = [schedule.at(t).ratio for t in range(100, 900, 50)]
    assert all(here < there for here, there in pairwise(inside))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("decoder/config.json", {"in_channels": 16}, "takes 16 channels and the autoencoder gives"),
        ("decoder/config.json", {"out_channels": 8}, "takes 4 channels and returns 8"),
        ("decoder/config.json", {"effnet_in_channels": None}, "reads no image embeddings"),
        ("decoder/config.json", {"clip_text_pooled_in_channels": 99}, "a vector of 99"),
        ("scheduler/scheduler_config.json", {"s": 0}, "positive numbers for scaler and s"),
        ("scheduler/scheduler_config.json", {"_class_name": "DDPMScheduler"}, "is a DDPMScheduler"),
        ("model_index.json", {"latent_dim_scale": "x"}, "latent_dim_scale should be a number"),
        ("vqgan/config.json", {"scale_factor": 0}, "scale_factor should be above 0"),
        ("vqgan/config.json", {"levels": 99}, "from 1 to 16, not 99"),
        ("vqgan/config.json", {"latent_channels": 3}, "the autoencoder gives 3"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    folders: tuple[Path, Path], file: str, changes: dict[str, Any], message: str
) -> None:
    edited = folders[0] / file
    kept = edited.read_text()
    try:
        edit(edited, **changes)
        with pytest.raises(LdmError, match=message):
            compose({"model": str(folders[0])}, installed())
    finally:
        edited.write_text(kept)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("model_index.json", {"_class_name": "FluxPipeline"}, "not of a FluxPipeline"),
        ("prior/config.json", {"in_channels": 16}, "of 16 and 6 channels"),
        ("prior/config.json", {"clip_text_in_channels": 8}, "of the widths 8 and 24"),
        ("prior/config.json", {"clip_image_in_channels": None}, "reads no picture"),
        ("scheduler/scheduler_config.json", {"_class_name": "DDPMScheduler"}, "is a DDPMScheduler"),
    ],
)
def test_priors_that_do_not_fit_are_refused(
    folders: tuple[Path, Path], file: str, changes: dict[str, Any], message: str
) -> None:
    edited = folders[1] / file
    kept = edited.read_text()
    own = {"name": "image_embeddings", "channels": EMBEDDINGS, "prior": str(folders[1])}
    try:
        edit(edited, **changes)
        with pytest.raises(LdmError, match=message):
            compose({"model": str(folders[0]), "conditioning": ["text", own]}, installed())
    finally:
        edited.write_text(kept)


def test_a_folder_that_is_no_prior_is_refused(folders: tuple[Path, Path]) -> None:
    own = {"name": "image_embeddings", "channels": EMBEDDINGS, "prior": str(folders[1] / "prior")}
    with pytest.raises(LdmError, match=r"no model_index.json; name the folder of a StableCascade"):
        compose({"model": str(folders[0]), "conditioning": ["text", own]}, installed())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "needs 'image_embeddings'"),
        ({"image_embeddings": SHOWN[0, :, :3]}, r"the shape \(6, 4, 6\), not \(6, 3, 6\)"),
        ({"image_embeddings": SHOWN[0], "height": 36}, "multiples of 8"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(
    pipe: Pipeline, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        pipe("a star", seed=1, **{**SIZE, **inputs})


def test_sizes_between_those_of_embeddings_are_refused(tmp_path: Path) -> None:
    folder = tiny.write_stable_cascade(tmp_path)
    edit(folder / "model_index.json", latent_dim_scale=10.67)
    pipe = Pipeline.from_pretrained(folder)
    with pytest.raises(LdmError, match="no image embeddings belong to a height of 120; such as 84"):
        pipe("a star", image_embeddings=SHOWN[0], seed=1, height=120, width=128)
    shown = torch.zeros(EMBEDDINGS, 3, 6)
    call: dict[str, Any] = {"num_inference_steps": 1, "output_type": "latent"}
    made = pipe("a star", image_embeddings=shown, seed=1, height=128, width=256, **call).images
    assert made.shape == (1, 4, 32, 64)


def test_the_manifest_names_the_prior(folders: tuple[Path, Path], pipe: Pipeline) -> None:
    made = with_prior(pipe, folders[1], prior_steps=2)(
        "a star", seed=1, num_inference_steps=1, **SIZE
    )
    assert str(folders[1]) in json.dumps(made.manifests[0], default=str)
