"""Where Diffusers' pipelines differ from ours: who is right, or what each does.

Their rows stand in docs/explanation/diffusers.md.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import tiny
from ldm_core import LdmError, Pipeline, chain
from peers import apart

PROMPT = "a red star"


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_stable_diffusion_xl(tmp_path_factory.mktemp("xl") / "model")


def picture(seed: int = 0, side: int = 16) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8))


def drawing(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def peer(cls: Any, folder: Path, scheduler: str | None = None) -> Any:
    pipe = cls.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    if scheduler is not None:
        pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    return pipe


def latents(pipe: Any, **call: Any) -> Tensor:
    made: Tensor = pipe(output_type="latent", **call).images
    return made


def with_part(pipe: Pipeline, part: str, **changes: Any) -> Pipeline:
    names = [choice["name"] for choice in pipe.recipe["conditioning"]]
    return pipe.replace(conditioning=[*names, part], **changes)


def test_in_diffusers_the_first_generator_encodes_one_picture_for_all(folder: Path) -> None:
    """Of several images of one picture, each but the first is another than alone."""
    theirs = peer(diffusers.StableDiffusionInpaintPipeline, folder)
    ours = with_part(Pipeline.from_pretrained(folder), "mask")
    call: dict[str, Any] = {
        "prompt": PROMPT,
        "image": picture(),
        "strength": 0.6,
        "num_inference_steps": 10,
        "width": 16,
        "height": 16,
    }
    white = {"mask_image": cover(255)}
    together = latents(theirs, num_images_per_prompt=2, generator=drawing(3, 4), **call, **white)
    alone = latents(theirs, generator=drawing(4), **call, **white)
    assert apart(together[1:], alone) > 1e-3
    call["mask"] = cover(255)
    both, own = latents(ours, seed=[3, 4], **call), latents(ours, seed=4, **call)
    assert apart(both[1:], own) < 1e-5
    assert apart(own, alone) < 1e-5
    assert apart(both[:1], together[:1]) < 1e-5


@pytest.mark.parametrize(
    ("name", "cls", "whole"),
    [("euler", "EulerDiscreteScheduler", True), ("heun", "HeunDiscreteScheduler", False)],
)
def test_a_chain_of_a_model_with_itself_is_one_run(
    xl: Path, name: str, cls: str, whole: bool
) -> None:
    """With Heun Diffusers cuts a step in two: the base ends where the step's first call looked
    ahead, and the refiner takes that step again from there."""
    call: dict[str, Any] = {"prompt": PROMPT, "num_inference_steps": 10, "guidance_scale": 3.0}
    base = peer(diffusers.StableDiffusionXLPipeline, xl, cls)
    once = latents(base, generator=drawing(3), **call)
    ours = Pipeline.from_pretrained(xl)
    spacing = ours.recipe["spacing"]
    ours = ours.replace(scheduler=name, spacing=spacing)
    both = latents(chain(ours, ours, at=0.5), seed=3, **call)
    assert apart(both, latents(ours, seed=3, **call)) < 1e-5
    generators = drawing(3)
    half = latents(base, denoising_end=0.5, generator=generators, **call)
    then = peer(diffusers.StableDiffusionXLImg2ImgPipeline, xl, cls)
    end = latents(then, image=half, denoising_start=0.5, generator=generators, **call)
    distance = apart(end, once)
    assert distance < 1e-5 if whole else distance > 1e-4
    if not whole:
        calls: list[float] = []
        then.unet.register_forward_pre_hook(lambda module, inputs: calls.append(float(inputs[1])))
        latents(then, image=half, denoising_start=0.5, generator=drawing(3), **call)
        assert calls[0] > calls[1] >= calls[2]  # the step that the base had begun


def cover(level: int, side: int = 16) -> Image.Image:
    """A mask of one grey."""
    return Image.new("L", (side, side), level)


def edges(side: int = 16) -> Image.Image:
    """White in three quarters of the pixels of each latent, all but the first."""
    array = np.full((side, side), 255, dtype=np.uint8)
    array[::2, ::2] = 0
    return Image.fromarray(array)


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_diffusers_takes_one_pixel_of_each_latent_for_the_mask(
    folder: Path, xl: Path, kind: str
) -> None:
    cls, path = {
        "SD": (diffusers.StableDiffusionInpaintPipeline, folder),
        "SDXL": (diffusers.StableDiffusionXLInpaintPipeline, xl),
    }[kind]
    theirs = peer(cls, path)
    side = 16
    call: dict[str, Any] = {
        "prompt": PROMPT,
        "image": picture(side=side),
        "strength": 0.6,
        "num_inference_steps": 5,
        "width": side,
        "height": side,
    }

    def painted(mask: Image.Image) -> Tensor:
        return latents(theirs, mask_image=mask, generator=drawing(3), **call)

    # an empty mask runs, and so does one that is all but white; both give the picture
    kept = painted(cover(0))
    assert painted(edges()).equal(kept)
    assert painted(cover(127)).equal(kept)
    assert painted(cover(128)).equal(painted(cover(255)))
    ours = with_part(Pipeline.from_pretrained(path), "mask")
    ways = [latents(ours, mask=mask, seed=3, **call) for mask in (edges(), cover(127), cover(255))]
    picture_itself = ours.encode([call["image"]], seed=3)
    for way in ways:
        assert apart(way, picture_itself) > 1e-2
    assert apart(ways[0], ways[2]) > 1e-2
    with pytest.raises(LdmError, match="the mask is empty"):
        latents(ours, mask=cover(0), seed=3, **call)


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_what_a_scheduler_draws_after_a_mask_is_the_same(folder: Path, strength: float) -> None:
    """Diffusers encodes the masked picture for every network, and that draws."""
    theirs = peer(
        diffusers.StableDiffusionInpaintPipeline, folder, "EulerAncestralDiscreteScheduler"
    )
    cells = 255 * np.random.default_rng(1).integers(0, 2, (4, 4), dtype=np.uint8)
    mask = Image.fromarray(cells).resize((16, 16), Image.Resampling.NEAREST)
    call: dict[str, Any] = {
        "prompt": PROMPT,
        "image": picture(),
        "strength": strength,
        "num_inference_steps": 10,
        "width": 16,
        "height": 16,
    }
    expected = latents(theirs, mask_image=mask, generator=drawing(3), **call)
    spacing = {"name": "leading", "steps_offset": 1, "final": "zero"}
    ours = Pipeline.from_pretrained(folder)
    ours = with_part(ours, "mask", scheduler="euler_ancestral", spacing=spacing)
    assert apart(latents(ours, mask=mask, seed=3, **call), expected) < 1e-5


FLOWS: dict[str, tuple[Any, Any, int]] = {
    "SD 3": (tiny.write_stable_diffusion_3, diffusers.StableDiffusion3Img2ImgPipeline, 16),
    "Flux": (tiny.write_flux, diffusers.FluxImg2ImgPipeline, 64),
}
"""Of each: its folder, its pipeline from a picture, and the side of a picture."""


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: write(tmp_path_factory.mktemp("flow") / "m") for name, (write, *_) in FLOWS.items()
    }


@pytest.mark.parametrize(
    ("strength", "walked"), [(0.25, 2), (0.35, 3), (0.5, 4), (0.75, 6), (0.99, 7), (1.0, 7)]
)
@pytest.mark.parametrize("name", FLOWS)
def test_flow_models_round_the_steps_of_a_strength_up(
    flows: dict[str, Path], name: str, strength: float, walked: int
) -> None:
    ours, (_, cls, side) = Pipeline.from_pretrained(flows[name]), FLOWS[name]
    call: dict[str, Any] = {"prompt": PROMPT, "image": picture(side=side), "strength": strength}
    extent = {"width": side, "height": side}
    painted = with_part(ours, "mask").composition
    plan = painted.plan({**call, "mask": cover(255, side)}, [3], extent, 7)
    assert len(plan.grid) == walked + 1
    call |= {**extent, "num_inference_steps": 7, "guidance_scale": 3.5}
    theirs = peer(cls, flows[name])
    expected = latents(theirs, generator=drawing(3), **call)
    if name == "Flux":
        expected = cls._unpack_latents(expected, side, side, theirs.vae_scale_factor)
    found = latents(with_part(ours, "image"), seed=3, **call)
    assert apart(found, expected) < 1e-5


def test_a_controlled_start_from_latents_never_sees_the_picture(
    folder: Path, tmp_path: Path
) -> None:
    """Diffusers' pipeline takes ``latents`` for the noisy x where the strength begins, as they are;
    ours resumes a run from an x in so many words."""
    control = tiny.write_controlnet(tmp_path / "control", folder)
    network = diffusers.ControlNetModel.from_pretrained(control)
    theirs = diffusers.StableDiffusionControlNetImg2ImgPipeline.from_pretrained(
        folder, controlnet=network
    )
    theirs.set_progress_bar_config(disable=True)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    call: dict[str, Any] = {"prompt": PROMPT, "strength": 0.6, "num_inference_steps": 10}
    ends = [
        latents(
            theirs,
            image=picture(i),
            control_image=picture(5),
            latents=x,
            controlnet_conditioning_scale=1.0,
            **call,
        )
        for i in (0, 1)
    ]
    assert ends[0].equal(ends[1])
    ours = Pipeline.from_pretrained(folder)
    ours = ours.replace(
        conditioning=["text", "image", {"name": "control", "models": [str(control)]}]
    )
    inputs = {**call, "image": picture(), "control_image": picture(5)}
    steps = inputs.pop("num_inference_steps")
    plan = ours.composition.plan(inputs, [3], num_inference_steps=steps)
    sampling = ours.resume(plan, x, plan.grid[0])
    assert apart(sampling.walk(sampling.x), ends[0]) < 1e-5


SCALE, GUIDANCE = "controlnet_conditioning_scale", "guidance_scale"


@pytest.mark.parametrize(
    ("cls", "argument", "default"),
    [
        (diffusers.StableDiffusionControlNetPipeline, SCALE, 1.0),
        (diffusers.StableDiffusionControlNetImg2ImgPipeline, SCALE, 0.8),
        (diffusers.StableDiffusionXLControlNetImg2ImgPipeline, SCALE, 0.8),
        (diffusers.StableDiffusionControlNetInpaintPipeline, SCALE, 0.5),
        (diffusers.FluxPipeline, GUIDANCE, 3.5),
        (diffusers.FluxImg2ImgPipeline, GUIDANCE, 7.0),
        (diffusers.FluxInpaintPipeline, GUIDANCE, 7.0),
    ],
)
def test_pipelines_of_diffusers_from_a_picture_have_defaults_of_their_own(
    cls: Any, argument: str, default: float
) -> None:
    """Ours keep the one of the plain pipeline."""
    assert inspect.signature(cls.__call__).parameters[argument].default == default


def test_lcm_of_its_own_pipeline_walks_all_steps_from_a_picture(folder: Path) -> None:
    """It shortens the distilled timesteps by the strength, and makes all steps among the rest; the
    pipeline of Stable Diffusion with the same class leaves steps out, as ours does."""
    steps, strength = 4, 0.5
    distilled = {*range(19, 1000, 20)}
    shortened = diffusers.LCMScheduler()
    shortened.set_timesteps(steps, original_inference_steps=50, strength=strength)
    whole = diffusers.LCMScheduler()
    whole.set_timesteps(steps)
    ours = with_part(Pipeline.from_pretrained(folder), "image", scheduler="lcm", spacing="lcm")
    inputs = {"prompt": PROMPT, "image": picture(), "strength": strength}
    grid = ours.composition.plan(inputs, [1], num_inference_steps=steps).grid
    assert [point.t for point in grid[:-1]] == whole.timesteps[2:].tolist()
    assert len(shortened.timesteps) == steps
    assert shortened.timesteps[0] == whole.timesteps[2]
    assert {*shortened.timesteps.tolist(), *whole.timesteps.tolist()} <= distilled


def test_only_the_class_of_tcd_steps_with_an_eta_of_its_own(folder: Path) -> None:
    """Diffusers' pipelines hand 0 to every step that takes one, and so do we."""
    ours = Pipeline.from_pretrained(folder)
    call: dict[str, Any] = {"prompt": PROMPT, "num_inference_steps": 4, "seed": 3}
    own = ours.replace(scheduler="diffusers:TCDScheduler")
    told = {"name": "diffusers:TCDScheduler", "step": {"eta": 0.3}}
    theirs = peer(diffusers.StableDiffusionPipeline, folder, "TCDScheduler")
    expected = latents(theirs, prompt=PROMPT, num_inference_steps=4, generator=drawing(3))
    assert apart(latents(own, **call), expected) < 1e-5
    assert apart(latents(ours.replace(scheduler=told), **call), expected) > 1e-2
