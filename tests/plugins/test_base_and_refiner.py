"""An SDXL base and its refiner in a chain: Diffusers' own latents from the same folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

import tiny
from ldm_core import LdmError, Pipeline, chain

PROMPTS = ["a red star", "a blue circle"]
STEPS = 10


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tiny.write_stable_diffusion_xl(tmp_path_factory.mktemp("base"))
    refiner = tiny.write_stable_diffusion_xl(
        tmp_path_factory.mktemp("refiner"),
        pipeline="StableDiffusionXLImg2ImgPipeline",
        refiner=True,
    )
    shutil.copytree(base / "vae", refiner / "vae", dirs_exist_ok=True)  # a pair shares it
    return base, refiner


@pytest.fixture(scope="module")
def pair(folders: tuple[Path, Path]) -> tuple[Pipeline, Pipeline]:
    base, refiner = folders
    return Pipeline.from_pretrained(base), Pipeline.from_pretrained(refiner)


def of_diffusers(
    folders: tuple[Path, Path], scheduler: str, at: float, settings: dict[str, Any] | None = None
) -> torch.Tensor:
    """The ensemble of experts as Diffusers' documentation has it."""
    first = StableDiffusionXLPipeline.from_pretrained(folders[0])
    then = StableDiffusionXLImg2ImgPipeline.from_pretrained(folders[1])
    for peer in (first, then):
        peer.set_progress_bar_config(disable=True)
        cls = getattr(diffusers, scheduler)
        peer.scheduler = cls.from_config(peer.scheduler.config, **(settings or {}))
    both: dict[str, Any] = {
        "prompt": PROMPTS,
        "num_inference_steps": STEPS,
        "generator": [torch.Generator().manual_seed(seed) for seed in (3, 4)],
        "output_type": "latent",
    }
    latents = first(denoising_end=at, **both).images
    found: torch.Tensor = then(image=latents, denoising_start=at, **both).images
    return found


@pytest.mark.parametrize("at", [0.8, 0.5, 0.33])
@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        ("euler", "EulerDiscreteScheduler", {}),
        ("ddim", "DDIMScheduler", {"clip_sample": False}),
        ("euler_ancestral", "EulerAncestralDiscreteScheduler", {}),
        (
            {
                "name": "diffusers:EulerDiscreteScheduler",
                "config": {"timestep_spacing": "leading", "steps_offset": 1},
            },
            "EulerDiscreteScheduler",
            {},
        ),
    ],
    ids=["euler", "ddim", "euler_ancestral", "a class of Diffusers"],
)
def test_latents_are_handed_over_as_in_diffusers(
    folders: tuple[Path, Path],
    pair: tuple[Pipeline, Pipeline],
    ours: Any,
    theirs: str,
    settings: dict[str, Any],
    at: float,
) -> None:
    expected = of_diffusers(folders, theirs, at, settings)
    both = chain(*pair, at=at).replace(scheduler=ours)
    found = both(PROMPTS, seed=3, num_inference_steps=STEPS, output_type="latent").images
    assert float((found - expected).norm() / expected.norm()) < 1e-5


@pytest.mark.parametrize("at", [0.7, 0.5])
@pytest.mark.parametrize("order", [2, 3])
def test_orders_fall_at_the_end_of_the_run_and_not_where_it_is_handed_over(
    folders: tuple[Path, Path], pair: tuple[Pipeline, Pipeline], order: int, at: float
) -> None:
    settings = {"solver_order": order}
    expected = of_diffusers(folders, "DPMSolverMultistepScheduler", at, settings)
    curvature = {"curvature": "half"} if order == 3 else {}
    both = chain(*pair, at=at).replace(
        scheduler={"name": f"dpmpp_{order}m", **curvature},
        spacing={"name": "leading", "steps_offset": 1, "open_end": True, "final": "zero"},
    )
    found = both(PROMPTS, seed=3, num_inference_steps=STEPS, output_type="latent").images
    assert float((found - expected).norm() / expected.norm()) < 1e-5


def test_each_pipeline_takes_the_inputs_that_it_reads(pair: tuple[Pipeline, Pipeline]) -> None:
    both = chain(*pair)
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 5, "output_type": "latent"}
    plain = both("a red star", **call)
    scored = both("a red star", aesthetic_score=9.0, **call)
    assert float((plain.images - scored.images).norm()) > 1e-4
    base, refiner = scored.manifests[0]["chain"]
    assert "aesthetic_score" not in base["inputs"]
    assert refiner["inputs"]["aesthetic_score"] == 9.0
    with pytest.raises(LdmError, match="takes no 'aesthetic_scor'"):
        both("a red star", aesthetic_scor=9.0)


def test_latents_of_another_autoencoder_are_refused(
    folder: Path, pair: tuple[Pipeline, Pipeline]
) -> None:
    """Stable Diffusion and its XL have latents of one shape and one noise schedule."""
    with pytest.raises(LdmError, match=r"different latents \(scaling_factor 0\.13025 and 0\.18215"):
        chain(pair[0], Pipeline.from_pretrained(folder))
