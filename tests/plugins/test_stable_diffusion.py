"""The Stable Diffusion family: Diffusers' own pictures from the same folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.media.manifest import recipe_of
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared.scheduler_config import (
    read_prediction_type,
    read_schedule,
)
from peers import distance_to_peer

VP = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.mark.parametrize(
    "scheduler",
    [
        {},
        {"prediction_type": "v_prediction", "set_alpha_to_one": True},
        {"_class_name": "DDIMScheduler", "timestep_spacing": "trailing", "steps_offset": 0},
        {"_class_name": "DDPMScheduler", "clip_sample": True, "clip_sample_range": 2.0},
        {"_class_name": "EulerDiscreteScheduler"},
        {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "linspace"},
        {"_class_name": "HeunDiscreteScheduler", "timestep_spacing": "trailing"},
        {"_class_name": "DDPMScheduler", "steps_offset": 0},
        {"_class_name": "DPMSolverMultistepScheduler", "timestep_spacing": "trailing"},
    ],
    ids=lambda config: "-".join(str(v) for v in config.values()) or "ddim",
)
def test_nothing_chosen_gives_what_diffusers_gives(
    tmp_path: Path, scheduler: dict[str, Any]
) -> None:
    folder = tiny.write_stable_diffusion(tmp_path, scheduler)
    theirs = StableDiffusionPipeline.from_pretrained(folder)
    ours = Pipeline.from_pretrained(folder)
    assert distance_to_peer(ours, theirs, negative_prompt=["green", ""], width=24, height=16) < 1e-5


def test_encoder_and_decoder_are_those_of_diffusers(pipe: Pipeline) -> None:
    vae = pipe.model.parts["vae"].module
    pixels = torch.rand(2, 3, 16, 16)
    posterior = vae.encode(pixels * 2 - 1).latent_dist
    mean = pipe.replace(encoder={"name": "autoencoder_kl", "sample": False}).encode(pixels)
    torch.testing.assert_close(mean, posterior.mean * vae.config.scaling_factor)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    noise = torch.cat([torch.randn(1, 4, 8, 8, generator=g) for g in generators])
    drawn = (posterior.mean + posterior.std * noise) * vae.config.scaling_factor
    torch.testing.assert_close(pipe.encode(pixels, seed=0), drawn)
    decoded = vae.decode(drawn / vae.config.scaling_factor).sample
    torch.testing.assert_close(pipe.decode(drawn), decoded)


def test_explicit_betas_are_read() -> None:
    assert read_schedule({"trained_betas": [0.1, 0.2, 0.5]}).at(1).alpha ** 2 == pytest.approx(0.72)
    zero = read_schedule({"trained_betas": [0.1, 0.2, 0.5], "rescale_betas_zero_snr": True})
    assert zero.at(2).alpha == 0


@pytest.mark.parametrize(
    "config", [{"beta_schedule": "cubic"}, {"trained_betas": [2.0, 3.0]}, {"beta_end": -1.0}]
)
def test_a_bad_noise_schedule_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(LdmError, match="scheduler_config"):
        read_schedule(config)


def test_a_bad_prediction_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LdmError, match="prediction type"):
        read_prediction_type({"prediction_type": "velocity"})
    folder = tiny.write_stable_diffusion(tmp_path, {"prediction_type": "velocity"})
    with pytest.raises(LdmError, match="prediction type"):
        compose({"model": str(folder)}, installed())


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose network takes its guidance as a number."""
    folder = tmp_path_factory.mktemp("distilled")
    return tiny.write_stable_diffusion(folder, time_cond_proj_dim=32)


@pytest.mark.parametrize("call", [{}, {"guidance_scale": 2.0}], ids=["its own scale", "scale 2"])
def test_guidance_told_to_the_network_is_that_of_diffusers(
    distilled: Path, call: dict[str, Any]
) -> None:
    ours = Pipeline.from_pretrained(distilled)
    assert ours.recipe["guidance"] == {"name": "embedded", "scale": 7.5}
    theirs = StableDiffusionPipeline.from_pretrained(distilled)
    assert distance_to_peer(ours, theirs, **call) < 1e-5


def latents(pipe: Pipeline, prompt: str = "a red star", **call: Any) -> torch.Tensor:
    found: torch.Tensor = pipe(prompt, seed=1, output_type="latent", **call).images
    return found


def test_the_true_scale_is_classifier_free_guidance(distilled: Path) -> None:
    one = Pipeline.from_pretrained(distilled, num_inference_steps=1)
    positive, negative = latents(one), latents(one, "green")
    both = one.replace(guidance={"true_scale": 3.0})
    # one step of DDIM is linear in the network's output
    expected = negative + 3 * (positive - negative)
    torch.testing.assert_close(latents(both, negative_prompt="green"), expected)
    assert not torch.allclose(expected, positive, rtol=1e-2)


def test_a_scale_that_is_not_told_is_none(distilled: Path) -> None:
    pipe = Pipeline.from_pretrained(distilled, num_inference_steps=2)
    told = latents(pipe, guidance_scale=1.0)
    torch.testing.assert_close(latents(pipe.replace(guidance="none")), told)
    assert not torch.allclose(latents(pipe), told, rtol=1e-2)


def test_guidance_embeds_needs_a_network_distilled_for_it(pipe: Pipeline, distilled: Path) -> None:
    with pytest.raises(LdmError, match="not distilled to take its guidance"):
        pipe.replace(guidance="embedded")
    guided = Pipeline.from_pretrained(distilled)
    for option in ("scale", "true_scale"):
        with pytest.raises(LdmError, match=f"the {option} of embedded must not be negative"):
            guided.replace(guidance={option: -1.0})


def test_a_latent_consistency_model_has_its_own_defaults(tmp_path: Path) -> None:
    kind = "LatentConsistencyModelPipeline"
    folder = tiny.write_stable_diffusion(tmp_path / "lcm", pipeline=kind, time_cond_proj_dim=32)
    recipe = compose({"model": str(folder)}, installed()).recipe
    assert recipe["guidance"] == {"name": "embedded", "scale": 8.5}
    assert recipe["num_inference_steps"] == 4
    plain = tiny.write_stable_diffusion(tmp_path / "plain", pipeline=kind)
    with pytest.raises(LdmError, match="has no time_cond_proj_dim"):
        compose({"model": str(plain)}, installed())


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inpainting folder, its network of nine channels."""
    folder = tmp_path_factory.mktemp("inpainting")
    kind = "StableDiffusionInpaintPipeline"
    return tiny.write_stable_diffusion(folder, pipeline=kind, in_channels=9)


def pictures(mode: str, count: int, width: int = 16, height: int = 16) -> list[Image.Image]:
    """Pictures of random pixels, or masks of random cells of 4x4 pixels."""
    random = np.random.default_rng(0)
    if mode == "RGB":
        shape = (count, height, width, 3)
        return [Image.fromarray(p) for p in random.integers(0, 256, shape, dtype=np.uint8)]
    cells = random.integers(0, 256, (count, height // 4, width // 4), dtype=np.uint8)
    return [Image.fromarray(c).resize((width, height), Image.Resampling.NEAREST) for c in cells]


def test_inpainting_is_that_of_diffusers(inpainting: Path, tmp_path: Path) -> None:
    images, masks = pictures("RGB", 2, width=24), pictures("L", 2, width=24)
    files: dict[str, list[str]] = {"image": [], "mask": []}
    for name, many in (("image", images), ("mask", masks)):
        for i, picture in enumerate(many):
            picture.save(tmp_path / f"{name}{i}.png")
            files[name].append(str(tmp_path / f"{name}{i}.png"))
    ours = Pipeline.from_pretrained(inpainting)
    theirs = StableDiffusionInpaintPipeline.from_pretrained(inpainting)
    distance = distance_to_peer(
        ours,
        theirs,
        own=files,
        their={"image": images, "mask_image": masks},
        negative_prompt=["green", ""],
        width=24,
        height=16,
    )
    assert distance < 1e-5


def test_an_image_may_be_a_file_a_picture_or_a_tensor(inpainting: Path, tmp_path: Path) -> None:
    pipe = Pipeline.from_pretrained(inpainting, num_inference_steps=2)
    (image,), (mask,) = pictures("RGB", 1), pictures("L", 1)
    image.save(tmp_path / "image.png")
    mask.save(tmp_path / "mask.png")
    numbers = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    coverage = torch.from_numpy(np.array(mask))[None] / 255
    expected = latents(pipe, image=image, mask=mask)
    for other in (
        {"image": tmp_path / "image.png", "mask": str(tmp_path / "mask.png")},
        {"image": numbers, "mask": coverage},
    ):
        assert latents(pipe, **other).equal(expected)


def test_a_picture_is_made_again_from_the_files_that_its_manifest_names(
    inpainting: Path, tmp_path: Path
) -> None:
    pipe = Pipeline.from_pretrained(inpainting, num_inference_steps=2)
    (image,), (mask,) = pictures("RGB", 1), pictures("L", 1)
    image.save(tmp_path / "image.png")
    mask.save(tmp_path / "mask.png")
    inputs: dict[str, Any] = {"image": tmp_path / "image.png", "mask": tmp_path / "mask.png"}
    made = pipe("a red star", seed=1, **inputs)
    manifest = json.loads(json.dumps(made.manifests[0]))
    again = Pipeline.from_pretrained(**recipe_of(manifest))(
        seed=manifest["seed"], **manifest["inputs"]
    )
    assert again.images[0].tobytes() == made.images[0].tobytes()
    inputs["image"] = image
    manifest = json.loads(json.dumps(pipe("a red star", seed=1, **inputs).manifests[0]))
    with pytest.raises(LdmError, match=r"PIL\.Image\.Image for its 'image'.* give it as a file"):
        recipe_of(manifest)


def test_a_network_of_four_channels_is_plain_whatever_its_pipeline(tmp_path: Path) -> None:
    folder = tiny.write_stable_diffusion(tmp_path, pipeline="StableDiffusionInpaintPipeline")
    ours = Pipeline.from_pretrained(folder)
    assert "inpainting" not in ours.model.info.abilities
    assert distance_to_peer(ours, StableDiffusionPipeline.from_pretrained(folder)) < 1e-5


def blank(mode: str, width: int = 16, height: int = 16) -> Image.Image:
    return Image.new(mode, (width, height))


def dot(x: int, y: int) -> Image.Image:
    mask = blank("L")
    mask.putpixel((x, y), 255)
    return mask


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"image": blank("RGB")}, "needs 'mask'"),
        ({"mask": dot(0, 0)}, "needs 'image'"),
        ({"image": blank("RGB", 24), "mask": dot(0, 0)}, "image is 24x16 pixels and the mask 16"),
        ({"image": blank("RGB", 24), "mask": blank("L", 24)}, "24x16 pixels and 16x16 is to be"),
        ({"image": blank("RGB"), "mask": blank("L")}, "the mask is empty"),
        ({"image": blank("RGB"), "mask": Image.new("L", (16, 16), 127)}, "the mask is empty"),
        ({"image": blank("RGB"), "mask": dot(1, 1)}, "the mask is too small"),
        ({"image": "none.png", "mask": dot(0, 0)}, "image 'none.png' cannot be read: No such"),
        ({"image": blank("RGB"), "mask": __file__}, "cannot be read: it is no picture"),
        ({"image": 3, "mask": dot(0, 0)}, "image should be a file, a PIL image.* not 3"),
        ({"image": torch.zeros(1, 16, 16), "mask": dot(0, 0)}, r"of shape \(1, 16, 16\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_image_or_mask_that_does_not_fit_is_refused(
    inpainting: Path, inputs: dict[str, Any], message: str
) -> None:
    composition = compose({"model": str(inpainting)}, installed())
    with pytest.raises(LdmError, match=message):
        composition.plan({"prompt": "a red star", **inputs}, [1])


def test_a_network_that_takes_a_mask_needs_one(inpainting: Path) -> None:
    with pytest.raises(LdmError, match="must be conditioned by 'inpainting'"):
        compose({"model": str(inpainting), "conditioning": ["text"]}, installed())


@pytest.mark.parametrize(
    ("unet", "message"),
    [
        ({"in_channels": 7}, "takes 7 channels and the autoencoder gives 4"),
        ({"cross_attention_dim": 24}, "takes text states of width 24"),
    ],
    ids=["channels", "text"],
)
def test_parts_that_do_not_fit_one_another_are_refused(
    tmp_path: Path, unet: dict[str, Any], message: str
) -> None:
    folder = tiny.write_stable_diffusion(tmp_path, **unet)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())
