"""unCLIP and Stable unCLIP: Diffusers' own pictures from the same folders and noise."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import PriorTransformer, UnCLIPScheduler, UNet2DConditionModel, UNet2DModel
from diffusers.pipelines.deprecated.unclip import (
    UnCLIPImageVariationPipeline,
    UnCLIPPipeline,
    UnCLIPTextProjModel,
)
from diffusers.pipelines.stable_diffusion import (
    StableUnCLIPImageNormalizer,
    StableUnCLIPImg2ImgPipeline,
    StableUnCLIPPipeline,
    pipeline_stable_unclip,
    pipeline_stable_unclip_img2img,
)
from diffusers.schedulers import scheduling_ddpm, scheduling_unclip
from transformers import (
    CLIPImageProcessor,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.numerics.seeded_noise import SeededNoise
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared import embedding_prior, enlarger
from ldm_plugins.families.stable_unclip import SEED as NOISE_SEED
from peers import apart
from tiny.stable_cascade import edit
from tiny.unclip import WIDTH
from video_peers import PROMPTS, alone, picture

SEEDS = (3, 4)
STEPS = {"num_inference_steps": 4}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    at = tmp_path_factory.mktemp("unclip")
    return {
        "prior": tiny.write_unclip(at / "prior"),
        "picture": tiny.write_unclip(at / "picture", variation=True),
        "stable": tiny.write_stable_unclip(at / "stable"),
    }


@pytest.fixture(scope="module")
def pipes(folders: dict[str, Path]) -> dict[str, Pipeline]:
    return {name: Pipeline.from_pretrained(folder) for name, folder in folders.items()}


def peer_of(folder: Path) -> Any:
    """Diffusers' pipeline, whose parts are read one by one: the folder names a library ``unclip``
    for one of them, as published ones do."""
    classes: dict[str, Any] = {
        "prior": PriorTransformer,
        "decoder": UNet2DConditionModel,
        "super_res_first": UNet2DModel,
        "super_res_last": UNet2DModel,
        "text_proj": UnCLIPTextProjModel,
        "text_encoder": CLIPTextModelWithProjection,
        "tokenizer": CLIPTokenizer,
        "image_encoder": CLIPVisionModelWithProjection,
        "feature_extractor": CLIPImageProcessor,
        **dict.fromkeys(SCHEDULERS, UnCLIPScheduler),
    }
    parts = {
        n: cls.from_pretrained(folder / n) for n, cls in classes.items() if (folder / n).is_dir()
    }
    peer = (UnCLIPPipeline if "prior" in parts else UnCLIPImageVariationPipeline)(**parts)
    peer.set_progress_bar_config(disable=True)
    return peer


STAGES = ("prior", "decoder", "super_res")
SCHEDULERS = tuple(f"{stage}_scheduler" for stage in STAGES)


def exactly(peer: Any) -> Any:
    """The pipeline with the tables of its schedulers in float64: in float32 the noise of its last
    step, 4e-5 of variance, is 1 less a number beside 1."""
    for name in SCHEDULERS:
        scheduler = getattr(peer, name, None)
        if scheduler is not None:
            scheduler.betas = torch.tensor(cosine_betas(), dtype=torch.float64)
            scheduler.alphas = 1 - scheduler.betas
            scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    return peer


def cosine_betas() -> list[float]:
    """Those of Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 17, in float64."""
    curve = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]
    return [min(1 - there / here, 0.999) for here, there in pairwise(curve)]


def mixed(seed: int, shape: Sequence[int]) -> SeededNoise:
    return SeededNoise([(one ^ seed) % 2**63 for one in SEEDS], shape, CPU)


@pytest.mark.parametrize("scales", [(4.0, 8.0), (1.0, 1.0)], ids=["guided", "alone"])
@pytest.mark.parametrize("kind", ["prior", "picture"])
def test_nothing_chosen_gives_what_diffusers_gives(
    folders: dict[str, Path],
    pipes: dict[str, Pipeline],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    scales: tuple[float, float],
) -> None:
    """The embedding, the small pixels and the picture, each with noise that is drawn here."""
    pipe, peer = pipes[kind], exactly(peer_of(folders[kind]))
    assert pipe.model.info.default_extent == {"height": 32, "width": 32}
    assert pipe.recipe["num_inference_steps"] == 25
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 8.0}
    streams: dict[tuple[int, ...], Callable[[], torch.Tensor]] = {
        (2, WIDTH): mixed(embedding_prior.SEED, (WIDTH,)),
        (2, 3, 16, 16): pipe.noise(SEEDS, {"height": 32, "width": 32}),
        (2, 3, 32, 32): mixed(enlarger.SEED, (3, 32, 32)),
    }
    monkeypatch.setattr(
        scheduling_unclip, "randn_tensor", lambda shape, **options: streams[tuple(shape)]()
    )
    first = {name: streams[shape]() for name, shape in zip(STAGES, streams, strict=True)}
    given: dict[str, Any] = {f"{name}_latents": value for name, value in first.items()}
    call: dict[str, Any] = {"decoder_guidance_scale": scales[1], "output_type": "np"}
    call |= {"decoder_num_inference_steps": 4, "super_res_num_inference_steps": 7}
    small: list[torch.Tensor] = []
    enlarge = peer.super_res_first.forward
    peer.super_res_first.forward = lambda sample, timestep: (
        small.append(sample[:, 3:]) or enlarge(sample, timestep)
    )
    ours = pipe.replace(guidance={"name": "classifier_free", "scale": scales[1]})
    if kind == "prior":
        options = {"name": "picture_embedding", "prior_steps": 5, "prior_guidance_scale": scales[0]}
        ours = ours.replace(conditioning=["text", options])
        own: dict[str, Any] = {"prompt": list(PROMPTS)}
        call |= {"prior_guidance_scale": scales[0], "prior_num_inference_steps": 5, **own}
    else:
        del given["prior_latents"]
        shown = [picture(1, 40, 24), picture(2, 16, 16)]
        own = {"prompt": ["", ""], "prompt_image": shown}
        call |= {"image": shown}
    theirs = peer(**call, **given).images
    made = ours(**own, **STEPS, seed=list(SEEDS), output_type="np").images
    assert apart(made, theirs) < 1e-5
    latents = ours(**own, **STEPS, seed=list(SEEDS), output_type="latent").images
    again = torch.nn.functional.interpolate(
        latents.clamp(-1, 1), size=(32, 32), mode="bicubic", antialias=True, align_corners=False
    )
    assert apart(again, small[0]) < 1e-5


def test_diffusers_ends_short_of_what_its_network_says() -> None:
    """Where the last step is from x to an x0 of 1, by a network that says so."""
    peer = UnCLIPScheduler(prediction_type="sample")
    end = peer.step(torch.ones(1, 1), 0, torch.zeros(1, 1)).prev_sample.item()
    assert end == pytest.approx(0.9995, abs=5e-5)


def stable_peer(folder: Path) -> Any:
    peer = StableUnCLIPImg2ImgPipeline.from_pretrained(
        folder,
        image_normalizer=StableUnCLIPImageNormalizer.from_pretrained(folder / "image_normalizer"),
    )
    peer.set_progress_bar_config(disable=True)
    return peer


@pytest.mark.parametrize(
    ("level", "call"),
    [
        (0, {}),
        (600, {"guidance_scale": 1.0}),
        (999, {"negative_prompt": ["green", "a circle"], "guidance_scale": 4.0}),
    ],
    ids=["no noise", "much noise", "most noise"],
)
def test_a_varied_picture_gives_what_diffusers_gives(
    folders: dict[str, Path],
    pipes: dict[str, Pipeline],
    monkeypatch: pytest.MonkeyPatch,
    level: int,
    call: dict[str, Any],
) -> None:
    pipe, peer = pipes["stable"], stable_peer(folders["stable"])
    assert pipe.recipe["num_inference_steps"] == 20
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 10.0}
    shown = [picture(1, 40, 24), picture(2, 16, 16)]
    for output_type in ("latent", "np"):
        with monkeypatch.context() as patch:
            patch.setattr(
                pipeline_stable_unclip_img2img,
                "randn_tensor",
                lambda shape, **options: mixed(NOISE_SEED, (WIDTH,))(),
            )
            theirs = peer(
                shown,
                list(PROMPTS),
                noise_level=level,
                latents=pipe.noise(SEEDS, {"height": 16, "width": 16})(),
                output_type=output_type,
                **STEPS,
                **call,
            ).images
        made = pipe(
            list(PROMPTS), prompt_image=shown, noise_level=level, seed=list(SEEDS),
            output_type=output_type, **STEPS, **call,
        ).images  # fmt: skip
        assert apart(made, theirs) < 1e-5


@pytest.mark.parametrize("kind", ["prior", "picture", "stable"])
def test_a_picture_depends_on_its_own_inputs_and_seed(
    pipes: dict[str, Pipeline], kind: str
) -> None:
    inputs: dict[str, list[Any]] = {"prompt": [*PROMPTS, "", "a blue circle"]}
    if kind != "prior":
        inputs["prompt_image"] = [picture(i, 20 + i, 20) for i in range(4)]
    if kind == "stable":
        inputs["noise_level"] = [None, 3, 500, 20]
    assert alone(pipes[kind], inputs, output_type="pt") < 1e-5


def test_a_text_alone_gives_what_diffusers_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its prior's noise, that in the embedding and that of the latents are drawn here. Tables of
    the prior's scheduler are in float64, as above."""
    folder = tiny.write_stable_unclip(tmp_path / "text", prior=True)
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["num_inference_steps"] == 20
    peer = StableUnCLIPPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    scheduler = peer.prior_scheduler
    scheduler.betas = torch.tensor(cosine_betas(), dtype=torch.float64)
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    drawn, noisy = mixed(embedding_prior.SEED, (WIDTH,)), mixed(NOISE_SEED, (WIDTH,))
    latents = pipe.noise(SEEDS, {"height": 16, "width": 16})()
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda shape, **options: drawn())
    monkeypatch.setattr(pipeline_stable_unclip, "randn_tensor", lambda shape, **options: noisy())
    call: dict[str, Any] = {"noise_level": 30, "height": 16, "width": 16, **STEPS}
    their = {"prior_latents": drawn(), "prior_num_inference_steps": 5, "latents": latents}
    theirs = peer(list(PROMPTS), output_type="np", **their, **call).images
    chosen = pipe.replace(conditioning=["text", {"name": "picture_embedding", "prior_steps": 5}])
    found = chosen(list(PROMPTS), seed=list(SEEDS), output_type="np", **call).images
    assert apart(found, theirs) < 1e-5
    inputs = {"prompt": [*PROMPTS, ""], "noise_level": [None, 3, 500]}
    assert alone(chosen, inputs, output_type="pt") < 1e-5


def test_text_picture_and_noise_are_seen(pipes: dict[str, Pipeline]) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent"}
    shown = picture(1, 16, 16)
    stable = pipes["stable"].replace(guidance="none")
    one = stable("a star", prompt_image=shown, **call).images
    assert apart(stable("a star", prompt_image=picture(2, 16, 16), **call).images, one) > 1e-4
    assert apart(stable("a circle", prompt_image=shown, **call).images, one) > 1e-4
    assert apart(stable("a star", prompt_image=shown, noise_level=900, **call).images, one) > 1e-4
    unclip = pipes["prior"].replace(guidance="none")
    star = unclip("a star", **call).images
    assert apart(unclip("a circle", **call).images, star) > 1e-5
    assert apart(unclip("a (star:1.6)", **call).images, star) > 1e-6


def test_few_pixels_are_what_is_encoded(pipes: dict[str, Pipeline]) -> None:
    pipe = pipes["prior"]
    few = pipe.encode(torch.full((1, 3, 32, 32), 0.25))
    torch.testing.assert_close(few, torch.full((1, 3, 16, 16), -0.5))
    one = pipe.replace(decoder={"name": "super_resolution", "steps": 1})
    assert one.decode(few).shape == (1, 3, 32, 32)
    assert one.decode(few).abs().max() <= 1
    assert apart(one.decode(few, seed=1), one.decode(few, seed=2)) > 1e-3
    kept = pipe.replace(conditioning=["text", "picture_embedding", "image"])
    source = picture(5, 32, 32)
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 50, "output_type": "latent"}
    near = kept("a star", image=source, strength=0.02, **call).images
    assert apart(near, pipe.encode(source)) < 0.2


@pytest.mark.parametrize(
    ("kind", "file", "changes", "message"),
    [
        ("prior", "decoder/config.json", {"out_channels": 4}, "takes 3 channels and returns 4"),
        ("prior", "decoder/config.json", {"class_embed_type": None}, "should be identity"),
        ("prior", "decoder/config.json", {"cross_attention_dim": 9}, "text_proj makes"),
        (
            "prior",
            "text_proj/config.json",
            {"clip_embeddings_dim": 9},
            "vectors of 9, and the text",
        ),
        ("prior", "prior/config.json", {"embedding_dim": 9}, "embeddings of width 9, and 32"),
        ("prior", "prior/config.json", {"embedding_proj_dim": 9}, "of the widths 32 and 9"),
        ("prior", "prior/config.json", {"num_embeddings": 9}, "reads 9 tokens"),
        ("prior", "prior/config.json", {"added_emb_type": None}, "lacks the token"),
        ("prior", "super_res_last/config.json", {"in_channels": 3}, "should take 6 channels"),
        ("prior", "super_res_last/config.json", {"sample_size": 64}, "whole number of times 16x16"),
        ("prior", "super_res_first/config.json", {"sample_size": 40}, "whole number of times"),
        (
            "prior",
            "prior_scheduler/scheduler_config.json",
            {"_class_name": "DDPMScheduler"},
            "a DDPMScheduler, where unCLIP has",
        ),
        (
            "prior",
            "super_res_scheduler/scheduler_config.json",
            {"prediction_type": "v_prediction"},
            "should be epsilon or sample",
        ),
        ("prior", "model_index.json", {"prior": None}, "has a prior, and this folder has none"),
        ("picture", "image_encoder/config.json", {"projection_dim": 9}, "gives vectors of 9, and"),
        (
            "stable",
            "unet/config.json",
            {"projection_class_embeddings_input_dim": 9},
            "a vector of 9 beside the text; it should take 64",
        ),
        ("stable", "unet/config.json", {"class_embed_type": None}, "beside the text"),
        ("stable", "image_normalizer/config.json", {"embedding_dim": 9}, "for vectors of 9"),
        (
            "stable",
            "image_noising_scheduler/scheduler_config.json",
            {"beta_schedule": "x"},
            "'?x'?",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    folders: dict[str, Path], kind: str, file: str, changes: dict[str, Any], message: str
) -> None:
    edited = folders[kind] / file
    kept = edited.read_text()
    try:
        edit(edited, **changes)
        with pytest.raises(LdmError, match=message):
            compose({"model": str(folders[kind])}, installed())
    finally:
        edited.write_text(kept)


@pytest.mark.parametrize(
    ("kind", "inputs", "message"),
    [
        ("prior", {"prompt_image": picture(1, 8, 8)}, "prompt_image"),
        ("prior", {"width": 34}, "multiples of 4"),
        ("picture", {}, "needs 'prompt_image'"),
        ("picture", {"prompt_image": "none.png"}, "none.png"),
        ("stable", {"prompt_image": picture(1, 8, 8), "noise_level": -1}, "whole number, not -1"),
        ("stable", {"prompt_image": picture(1, 8, 8), "noise_level": 1000}, "from 0 to 999"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(
    pipes: dict[str, Pipeline], kind: str, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        pipes[kind]("a star", seed=1, **inputs)


def test_other_decoders_are_refused_and_the_manifest_says_the_steps(
    folders: dict[str, Path], pipes: dict[str, Pipeline]
) -> None:
    with pytest.raises(LdmError, match="'pixels' is for models that work on pixels"):
        compose({"model": str(folders["prior"]), "decoder": "pixels"}, installed())
    made = pipes["prior"]("a star", seed=1, num_inference_steps=2)
    assert '"ldm-core:super_resolution"' in json.dumps(made.manifests[0], default=str)
