"""A scheduler that is named means what Diffusers' own swap means, on folders as they are published.

``pipe.scheduler = X.from_config(pipe.scheduler.config)`` is the oracle: the class so made, stepped
as its pipeline does, on one made-up network. What differs on purpose is on the page of differences.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

import tiny
from ldm_core.composition.compose import compose, recompose
from ldm_core.composition.composition import Composition
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.plugins.registry import installed
from pages import DOCS, table_rows
from swaps import FLOW_SWAPS, PUBLISHED, SWAPS, Swap, ours, swapped, theirs
from tiny.covering import some_of

PAGE = DOCS / "explanation" / "diffusers.md"
STEPS = (4, 20)
MORE_STEPS = (*STEPS, 50)
FLOWS = ("SD 3", "Flux dev")
ZERO_SNR = "v, zero terminal SNR"
EXCEPTIONS = {
    ("SD 2.1 v", "pndm"): "PNDM on v, 20 steps",
    ("PixArt", "ddim"): "DDIM, latents clipped, 20 steps",
    ("PixArt", "ddpm"): "DDPM, latents clipped, 20 steps",
    ("PixArt", "pndm"): "PNDM, linspace, Runge-Kutta start, 20 steps",
    ("SD 3", "deis"): "DEIS on a flow, 10 steps",
    ("Flux dev", "deis"): "DEIS on a flow, 10 steps",
    (ZERO_SNR, "deis"): "DEIS, zero terminal SNR, 100 steps",
    (ZERO_SNR, "dpm_2"): "KDPM2, zero terminal SNR, 100 steps",
    (ZERO_SNR, "dpm_2_ancestral"): "KDPM2 ancestral, zero terminal SNR, 100 steps",
    (ZERO_SNR, "dpmpp_single"): "DPM-Solver++ single-step, zero terminal SNR, 100 steps",
    (ZERO_SNR, "heun"): "Heun, zero terminal SNR, 100 steps",
    (ZERO_SNR, "lms"): "LMS, zero terminal SNR, 100 steps",
    (ZERO_SNR, "pndm"): "PNDM, zero terminal SNR, 100 steps",
}
"""Where ours goes another way: the row of the page of differences that says why, and how far each
is from the closed form."""
CASES = [
    (folder, name)
    for folder in PUBLISHED
    for name in (FLOW_SWAPS if folder in FLOWS else SWAPS)
    if (folder, name) != ("Flux dev", "heun")  # whose class cannot be told the shift
]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def of(folder: str) -> Composition:
        path = tmp_path_factory.mktemp("published") / "model"
        return compose({"model": str(PUBLISHED[folder].written(path))}, installed())

    return of


@cache
def end(composed: Any, folder: str, name: str, steps: int) -> torch.Tensor:
    """Where Diffusers' pipeline leads."""
    return theirs(folder, swap_of(folder, name), steps, composed(folder))


def distances(
    composed: Any, folder: str, name: str, choice: dict[str, Any], several: tuple[int, ...]
) -> dict[int, float]:
    """How far ours is from it, relative to its length, by the number of steps."""
    chosen = recompose(composed(folder), choice)
    both = {steps: (ours(chosen, steps), end(composed, folder, name, steps)) for steps in several}
    return {
        steps: float((one - other).norm() / other.norm()) for steps, (one, other) in both.items()
    }


def swap_of(folder: str, name: str) -> Swap:
    return (FLOW_SWAPS if folder in FLOWS else SWAPS)[name]


SEVERAL = pytest.mark.parametrize(
    "several", [STEPS, pytest.param(MORE_STEPS, marks=pytest.mark.slow)], ids=str
)


@SEVERAL
@pytest.mark.parametrize(("folder", "name"), some_of(CASES, 0, 2))
def test_a_named_scheduler_is_diffusers_own_swap(
    composed: Any, folder: str, name: str, several: tuple[int, ...]
) -> None:
    found = distances(composed, folder, name, {"scheduler": name}, several)
    if (folder, name) in EXCEPTIONS:
        assert max(found.values()) > 1e-4, "it is no exception any more"
        assert EXCEPTIONS[folder, name] in table_rows(PAGE, 4)
    else:
        assert max(found.values()) < 1e-4, found


REFUSED = {
    **{case: "cannot start where the signal is zero" for case in EXCEPTIONS if case[0] == ZERO_SNR},
    ("PixArt", "pndm"): "does not lead to what the network estimates",
}


@SEVERAL
@pytest.mark.parametrize(("folder", "name"), some_of(CASES, 1, 2))
def test_so_is_the_class_itself(
    composed: Any, folder: str, name: str, several: tuple[int, ...]
) -> None:
    own, swap = composed(folder), swap_of(folder, name)
    choice = {"name": f"diffusers:{swap.cls}", "config": dict(swap.settings)}
    if (folder, name) in REFUSED:
        with pytest.raises(LdmError, match=REFUSED[folder, name]):
            recompose(own, {"scheduler": choice}).grid(20)
        return
    found = distances(composed, folder, name, {"scheduler": choice}, several)
    if EXCEPTIONS.get((folder, name), "").endswith("latents clipped, 20 steps"):
        assert max(found.values()) > 1e-4
    else:
        assert max(found.values()) < 1e-4, found


@pytest.mark.parametrize(("name", "itself"), [("ddpm", False), ("ddpm", True), ("ddim", True)])
def test_what_is_clipped_differs_by_that_alone(composed: Any, name: str, itself: bool) -> None:
    """Where the class is told not to clip latents, it agrees."""
    swap = replace(SWAPS[name], settings={"clip_sample": False})
    chosen = recompose(
        composed("PixArt"), {"scheduler": f"diffusers:{swap.cls}" if itself else name}
    )
    for steps in STEPS:
        expected = theirs("PixArt", swap, steps, chosen)
        assert float((ours(chosen, steps) - expected).norm() / expected.norm()) < 1e-4


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["lcm", "tcd"])
@pytest.mark.parametrize("folder", ["SD 1.5", "SD 1.5 leading", "SDXL", ZERO_SNR, "PixArt"])
def test_consistency_models_visit_the_distilled_timesteps(
    composed: Any, folder: str, name: str, steps: int
) -> None:
    scheduler = swapped(folder, SWAPS[name])
    scheduler.set_timesteps(steps)
    grid = recompose(composed(folder), {"scheduler": name}).grid(steps)
    assert [point.t for point in grid][:-1] == scheduler.timesteps.tolist()


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["lcm", "tcd"])
def test_so_they_do_with_a_lora(composed: Any, tmp_path: Path, name: str, steps: int) -> None:
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v"
    change = {"lora_A": torch.randn(2, 32), "lora_B": torch.randn(32, 2)}
    save_file({f"{layer}.{k}.weight": v for k, v in change.items()}, tmp_path / "few.safetensors")
    choices = {"scheduler": name, "loras": [str(tmp_path / "few.safetensors")]}
    chosen = recompose(composed("SD 1.5"), choices)
    assert len(chosen.loras) == 1
    scheduler = swapped("SD 1.5", SWAPS[name])
    scheduler.set_timesteps(steps)
    assert [point.t for point in chosen.grid(steps)][:-1] == scheduler.timesteps.tolist()


def test_a_setting_that_ours_does_not_follow_is_said(tmp_path: Path) -> None:
    config = {**PUBLISHED["PixArt"].config, "lambda_min_clipped": -5.1}
    folder = replace(PUBLISHED["PixArt"], config=config).written(tmp_path / "model")
    own = compose({"model": str(folder)}, installed())
    with pytest.warns(LdmWarning, match=r"says lambda_min_clipped = -5\.1, which .* 'dpmpp_2m'"):
        recompose(own, {"scheduler": "dpmpp_2m"})


def test_clipping_goes_with_the_class_that_clips(composed: Any) -> None:
    """A folder of pixels clips; Euler's class does not, nor do we where it is named."""
    pixels = composed("DDPM pixels")
    clips = {
        name: [
            wrapper["name"]
            for wrapper in recompose(pixels, {"scheduler": name}).recipe.get("denoisers", [])
        ]
        for name in ("ddpm", "euler", "heun", "diffusers:EulerDiscreteScheduler", "er_sde")
    }
    assert clips == {
        **{"ddpm": ["clip_x0"], "euler": [], "heun": ["clip_x0"]},
        **{"diffusers:EulerDiscreteScheduler": [], "er_sde": ["clip_x0"]},
    }
    assert recompose(pixels, {"scheduler": "ddim"}).recipe["scheduler"]["clip"] == 1.0


def test_a_class_that_cannot_be_told_the_shift_is_refused(composed: Any) -> None:
    flux = composed("Flux dev")
    heun = "diffusers:FlowMatchHeunDiscreteScheduler"
    with pytest.raises(LdmError, match="takes no mu"):
        recompose(flux, {"scheduler": heun})
    assert recompose(flux, {"scheduler": {"name": heun, "config": {"shift": 3.0}}}).grid(4)


def test_a_slope_over_the_time_of_a_flow_is_refused_elsewhere(composed: Any) -> None:
    named = recompose(composed("SD 1.5"), {"scheduler": {"name": "heun", "over": "sigma"}})
    grid = named.grid(4)
    with pytest.raises(LdmError, match="rectified flow alone"):
        named.scheduler(torch.zeros(1), grid, lambda x, point: x, torch.zeros_like)


def test_inpainting_skips_the_runge_kutta_start(tmp_path: Path) -> None:
    """Its pipeline in Diffusers says so to a scheduler of its folder that does not."""
    inpaint = "StableDiffusionInpaintPipeline"
    folder = tiny.write_stable_diffusion(
        tmp_path / "model", {"_class_name": "PNDMScheduler"}, pipeline=inpaint, in_channels=9
    )
    theirs = diffusers.StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None)
    own = compose({"model": str(folder)}, installed())
    assert theirs.scheduler.config.skip_prk_steps
    assert own.recipe["scheduler"] == {"name": "pndm"}
