"""Schedulers: measured orders, exact limits, and Diffusers' own results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ldm_core import Pipeline
from ldm_core.conformance import (
    SCHEDULES,
    check_constant_x0,
    check_distribution,
    errors_by_steps,
    measured_order,
)
from ldm_core.plugins.options import bind
from ldm_core.plugins.registry import installed
from peers import COUNTERPARTS, OWN_TIMESTEPS, distance_to_diffusers

DETERMINISTIC = {"ddim": 1, "euler": 1, "heun": 2, "dpm_2": 2, "dpmpp_2m": 2}
HIGHER = ("lms", "unipc", "dpmpp_3m")
STOCHASTIC = ("ddpm", "euler_ancestral", "dpm_2_ancestral", "dpmpp_2m_sde")
SAME_TIMESTEPS = [
    (name, spacing)
    for name in COUNTERPARTS
    for spacing in ("leading", "trailing")
    if spacing == "trailing" or name not in OWN_TIMESTEPS
]


def scheduler(name: str, **options: Any) -> Any:
    return bind(installed().find("scheduler", name).loaded, options)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize(("name", "order"), DETERMINISTIC.items())
def test_error_falls_at_the_stated_order(name: str, order: int, path: str) -> None:
    """Gaussian data has an exact denoiser and an exact solution, so the slope can be measured."""
    assert measured_order(scheduler(name), SCHEDULES[path]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("path", SCHEDULES)
def test_the_second_order_is_worth_it(path: str) -> None:
    first, second = (
        errors_by_steps(scheduler(name), SCHEDULES[path], [64])[0] for name in ("euler", "dpmpp_2m")
    )
    assert second < first / 10


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("name", HIGHER)
def test_higher_orders_start_low_and_still_err_less(name: str, path: str) -> None:
    """Their first steps are of order one, as published, which leaves order two over the whole
    way."""
    schedule = SCHEDULES[path]
    assert measured_order(scheduler(name), schedule) > 1.7
    error, first = (errors_by_steps(scheduler(n), schedule, [256])[0] for n in (name, "euler"))
    assert error < first / 20


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_samples_have_the_mean_and_spread_of_the_data(name: str, path: str) -> None:
    errors = check_distribution(scheduler(name), SCHEDULES[path])
    assert max(map(abs, errors)) < 4


@pytest.mark.parametrize("name", [*DETERMINISTIC, *HIGHER, *STOCHASTIC])
def test_a_constant_x0_is_reached_exactly(name: str) -> None:
    check_constant_x0(scheduler(name))


@given(eta=st.floats(0.0, 1.0))
@settings(max_examples=20, deadline=None)
def test_ddim_ends_at_a_constant_x0_for_every_eta(eta: float) -> None:
    check_constant_x0(scheduler("ddim", eta=eta))


@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.parametrize(("name", "spacing"), SAME_TIMESTEPS)
def test_final_latents_are_those_of_diffusers(
    pipe: Pipeline, folder: Path, name: str, spacing: str, steps: int
) -> None:
    options: dict[str, Any] = {"final": "sigma_min" if name == "ddim" else "zero"}
    if spacing == "leading":
        options["steps_offset"] = 1
    ours = pipe.replace(scheduler=name, spacing={"name": spacing, **options})
    config = {"timestep_spacing": spacing, "clip_sample": False}
    assert distance_to_diffusers(ours, folder, name, steps, **config) < 1e-5


@pytest.mark.parametrize("name", ["euler", "euler_ancestral", "heun"])
def test_linspace_is_that_of_diffusers(pipe: Pipeline, folder: Path, name: str) -> None:
    ours = pipe.replace(scheduler=name, spacing={"name": "linspace", "final": "zero"})
    config = {"timestep_spacing": "linspace"}
    assert distance_to_diffusers(ours, folder, name, 20, **config) < 1e-5


# Not dpmpp_2m: Diffusers' class rounds the Karras timesteps to whole ones.
@pytest.mark.parametrize("name", ["euler", "heun"])
def test_karras_is_that_of_diffusers(pipe: Pipeline, folder: Path, name: str) -> None:
    ours = pipe.replace(scheduler=name, spacing={"name": "karras"})
    config = {"timestep_spacing": "linspace", "use_karras_sigmas": True}
    assert distance_to_diffusers(ours, folder, name, 20, **config) < 1e-4


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_with_eta_is_that_of_diffusers(pipe: Pipeline, folder: Path, eta: float) -> None:
    ours = pipe.replace(scheduler={"name": "ddim", "eta": eta})
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    generator = [torch.Generator().manual_seed(3)]
    expected = theirs(
        "a red star", generator=generator, num_inference_steps=10, eta=eta, output_type="latent"
    ).images
    found = ours("a red star", seed=3, num_inference_steps=10, output_type="latent").images
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_ddpm_is_ddim_with_all_noise_drawn_anew(pipe: Pipeline) -> None:
    """Song et al. 2021 (arXiv:2010.02502), Section 4.1."""
    one = pipe.replace(scheduler="ddpm")("a red star", seed=1, output_type="latent").images
    two = pipe.replace(scheduler={"name": "ddim", "eta": 1.0})(
        "a red star", seed=1, output_type="latent"
    ).images
    assert one.equal(two)
