"""Repainting by blending: with any model and scheduler, what is kept is kept exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from peers import apart, distance_to_peer
from tiny.covering import one_of_each

SCHEDULERS: dict[str, Any] = {
    "consistency": "consistency",
    "ddim": "ddim",
    "ddim, eta 1": {"name": "ddim", "eta": 1.0},
    "ddpm": "ddpm",
    "dpmpp_2m": "dpmpp_2m",
    "dpmpp_2m_sde": "dpmpp_2m_sde",
    "dpmpp_single": "dpmpp_single",
    "euler": "euler",
    "euler_ancestral": "euler_ancestral",
    "heun": "heun",
    "lms": "lms",
    "pndm": "pndm",
    "restart": "restart",
    "unipc": "unipc",
    "diffusers:UniPCMultistepScheduler": "diffusers:UniPCMultistepScheduler",
}


def pictures(count: int, width: int = 16, height: int = 16) -> list[Image.Image]:
    shape = (count, height, width, 3)
    random = np.random.default_rng(0)
    return [Image.fromarray(p) for p in random.integers(0, 256, shape, dtype=np.uint8)]


def masks(count: int, width: int = 16, height: int = 16) -> list[Image.Image]:
    """Black and white in cells of 4x4 pixels."""
    random = np.random.default_rng(1)
    cells = 255 * random.integers(0, 2, (count, height // 4, width // 4), dtype=np.uint8)
    return [Image.fromarray(c).resize((width, height), Image.Resampling.NEAREST) for c in cells]


def half(level: int = 255) -> Image.Image:
    """A mask that is of this level on its left half, and black on the right."""
    mask = Image.new("L", (16, 16))
    mask.paste(level, (0, 0, 8, 16))
    return mask


def with_mask(pipe: Pipeline) -> Pipeline:
    names = [choice["name"] for choice in pipe.recipe.get("conditioning", [])]
    return pipe.replace(conditioning=[*names, "mask"])


def latents(pipe: Pipeline, seed: int = 1, **inputs: Any) -> Tensor:
    made: Tensor = pipe(seed=seed, output_type="latent", **inputs).images
    return made


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_blending_is_that_of_diffusers_with_a_plain_network(folder: Path, strength: float) -> None:
    theirs = diffusers.StableDiffusionInpaintPipeline.from_pretrained(folder)
    ours = with_mask(Pipeline.from_pretrained(folder))
    distance = distance_to_peer(
        ours,
        theirs,
        {"mask": masks(2, width=24)},
        {"mask_image": masks(2, width=24)},
        image=pictures(2, width=24),
        strength=strength,
        width=24,
        height=16,
        num_inference_steps=10,
    )
    assert distance < 1e-5


def test_an_inpainting_network_starts_part_way_as_in_diffusers(tmp_path: Path) -> None:
    kind = "StableDiffusionInpaintPipeline"
    folder = tiny.write_stable_diffusion(tmp_path, pipeline=kind, in_channels=9)
    theirs = diffusers.StableDiffusionInpaintPipeline.from_pretrained(folder)
    distance = distance_to_peer(
        Pipeline.from_pretrained(folder),
        theirs,
        {"mask": masks(2)},
        {"mask_image": masks(2)},
        image=pictures(2),
        strength=0.6,
        num_inference_steps=10,
    )
    assert distance < 1e-5


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_what_is_black_is_kept_by_every_scheduler(
    pipe: Pipeline, scheduler: str, strength: float
) -> None:
    ours = with_mask(pipe).replace(scheduler=SCHEDULERS[scheduler])
    (picture,) = pictures(1)
    original = ours.encode([picture], seed=1)
    made = latents(ours, prompt="a red star", image=picture, mask=half(), strength=strength)
    assert made[..., 4:].equal(original[..., 4:])
    assert not made[..., :4].allclose(original[..., :4], rtol=0.1)


@pytest.mark.parametrize(
    "family", one_of_each([name for name, kind in tiny.FOLDERS.items() if not kind.painted])
)
def test_every_family_repaints(family: str, tmp_path: Path) -> None:
    kind = tiny.FOLDERS[family]
    ours = with_mask(Pipeline.from_pretrained(kind.write(tmp_path)))
    inputs = kind.inputs_in(tmp_path)
    own = ours.model.info.default_extent
    size = inputs.get("width", own["width"]), inputs.get("height", own["height"])
    (picture,), mask = pictures(1, *size), half().resize(size, Image.Resampling.NEAREST)
    original = ours.encode([picture] * 2, seed=[1, 2])
    call = {**inputs, "image": picture, "mask": mask, "num_inference_steps": 4}
    made = latents(ours, seed=[1, 2], **call)
    kept = made.shape[-1] // 2
    assert made[..., kept:].equal(original[..., kept:])
    assert not made[..., :kept].allclose(original[..., :kept], rtol=0.1)


def test_a_white_mask_changes_nothing_but_the_noise(pipe: Pipeline) -> None:
    """All is painted anew: the picture of the noise that is drawn after the autoencoder's."""
    ours, white, (picture,) = with_mask(pipe), Image.new("L", (16, 16), 255), pictures(1)
    made = latents(ours, prompt="a red star", image=picture, mask=white)
    plan = pipe.composition.plan({"prompt": "a red star"}, [1])
    noise = pipe.noise([1], {"height": 16, "width": 16})
    noise()
    run = pipe.start(plan, noise)
    torch.testing.assert_close(made, run.walk(run.x))


def test_grey_is_a_share_of_both(pipe: Pipeline) -> None:
    """A network that is always sure of one x0: each latent ends as the mask's mean of that and the
    picture, also where the mask is of another grey in every pixel."""
    level = np.random.default_rng(2).integers(0, 256, (16, 16), dtype=np.uint8)
    clean = {"name": "trailing", "final": "zero"}
    ours = with_mask(pipe).replace(spacing=clean, encoder={"sample": False})
    picture, mask = pictures(1)[0], Image.fromarray(level)
    inputs = {"prompt": "a red star", "image": picture, "mask": mask}
    (conditioning,) = [c for c in ours.composition.conditioning if "mask" in c.inputs]
    run = ours.start(ours.composition.plan(inputs, [1])).run
    hooks = conditioning.bind(run)
    x0 = ours.encode([picture], seed=1)
    sure = torch.full_like(x0, 0.5)
    x = ours.composition.scheduler(x0, run.grid, hooks.denoise(lambda *_: sure), run.noise)
    share = torch.from_numpy(level / 255.0).float().reshape(8, 2, 8, 2).mean(dim=(1, 3))
    expected = share * sure + (1 - share) * x0
    torch.testing.assert_close(hooks.finish(x), expected, rtol=1e-5, atol=1e-5)


def test_no_strength_at_all_gives_the_picture(pipe: Pipeline) -> None:
    ours, (picture,) = with_mask(pipe), pictures(1)
    made = latents(ours, prompt="a red star", image=picture, mask=half(), strength=0)
    assert made.equal(ours.encode([picture], seed=1))


def test_an_image_depends_on_its_own_inputs_alone(pipe: Pipeline) -> None:
    ours, many, covers = with_mask(pipe), pictures(2), masks(2)
    together = latents(ours, prompt="a red star", image=many, mask=covers, seed=[5, 6])
    for index, seed in enumerate((5, 6)):
        own = {"image": many[index], "mask": covers[index]}
        alone = latents(ours, prompt="a red star", seed=seed, **own)
        assert apart(alone[0], together[index]) < 1e-5


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"mask": half().resize((24, 16))}, "image is 16x16 pixels and the mask 24x16"),
        ({"mask": Image.new("L", (16, 16))}, "the mask is empty"),
        ({"mask": None}, "needs 'mask'"),
        ({"strength": 2}, "strength should be a number from 0 to 1, not 2"),
        ({"strength": 0.1}, "less than one of the 4 steps"),
        ({"width": 32}, "image is 16x16 pixels and 32x16 is to be made"),
    ],
)
def test_what_cannot_be_used_is_refused_before_weights_are_read(
    folder: Path, inputs: dict[str, Any], message: str
) -> None:
    chosen = {"model": str(folder), "conditioning": ["text", "mask"], "num_inference_steps": 4}
    composition = compose(chosen, installed())
    given = {"prompt": "a red star", "image": pictures(1)[0], "mask": half(), **inputs}
    extent = {"width": given.pop("width")} if "width" in given else None
    with pytest.raises(LdmError, match=message):
        composition.plan(given, [1], extent)
