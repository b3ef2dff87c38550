"""Spacings: Diffusers' timesteps, the papers' formulas, and well-formed grids at any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from diffusers import DDIMScheduler, EulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from ldm_core.conformance import SCHEDULES, check_spacing
from ldm_core.errors import LdmError
from ldm_core.grid import checked
from ldm_core.noise_schedule import vp_schedule
from ldm_core.plugins.options import bind
from ldm_core.plugins.registry import installed

NAMES = ("leading", "trailing", "linspace", "karras", "exponential")
SCHEDULE = vp_schedule()


def spacing(name: str, **options: Any) -> Any:
    return bind(installed().find("spacing", name).loaded, options)


@pytest.mark.parametrize("steps", [1, 5, 20, 30, 50, 999])
@pytest.mark.parametrize("name", ["leading", "trailing"])
def test_timesteps_are_those_of_diffusers(name: str, steps: int) -> None:
    theirs = DDIMScheduler(timestep_spacing=name, beta_schedule="scaled_linear")
    theirs.set_timesteps(steps)
    grid = spacing(name)(SCHEDULE, steps)
    assert [p.t for p in grid[:-1]] == theirs.timesteps.tolist()


@pytest.mark.parametrize("steps", [2, 5, 20, 50])
def test_linspace_is_that_of_diffusers(steps: int) -> None:
    theirs = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    )
    theirs.set_timesteps(steps)
    grid = spacing("linspace")(SCHEDULE, steps)
    np.testing.assert_allclose([p.t for p in grid[:-1]], theirs.timesteps.numpy(), atol=1e-3)
    # Between whole timesteps theirs interpolates sigma and ours its logarithm.
    np.testing.assert_allclose([p.ratio for p in grid], theirs.sigmas.numpy(), rtol=2e-4)


def test_karras_by_the_formula() -> None:
    """Karras et al. 2022 (arXiv:2206.00364), Eq. 5, with its sigma_min, sigma_max and rho."""
    grid = spacing("karras", sigma_min=0.03, sigma_max=10.0, rho=7.0)(SCHEDULE, 5)
    i = np.arange(5)
    sigmas = (10 ** (1 / 7) + i / 4 * (0.03 ** (1 / 7) - 10 ** (1 / 7))) ** 7
    np.testing.assert_allclose([p.ratio for p in grid], [*sigmas, 0.0], rtol=1e-9)


def test_exponential_is_that_of_diffusers() -> None:
    theirs = EulerDiscreteScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        use_exponential_sigmas=True,
    )
    theirs.set_timesteps(20)
    ratios = [point.ratio for point in spacing("exponential")(SCHEDULE, 20)]
    np.testing.assert_allclose(ratios, theirs.sigmas.numpy(), rtol=5e-5)


def test_explicit_visits_what_is_listed() -> None:
    grid = spacing("explicit", timesteps=[999.0, 500.0, 20.0])(SCHEDULE, 3)
    assert [point.t for point in grid] == [999.0, 500.0, 20.0, 0.0]
    grid = spacing("explicit", sigmas=[10.0, 1.0])(SCHEDULE, 2)
    assert [point.ratio for point in grid] == pytest.approx([10.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("options", "steps", "message"),
    [
        ({}, 3, "either timesteps or sigmas"),
        ({"timesteps": [1.0], "sigmas": [1.0]}, 1, "either timesteps or sigmas"),
        ({"timesteps": [999.0, 5.0]}, 3, "2 points for num_inference_steps of 3"),
        ({"timesteps": [5000.0]}, 1, "outside the trained 0 to 999"),
        ({"sigmas": [1.0, 0.0]}, 2, "must be positive"),
    ],
)
def test_explicit_refuses_what_does_not_fit(
    options: dict[str, Any], steps: int, message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        spacing("explicit", **options)(SCHEDULE, steps)


@pytest.mark.parametrize("name", NAMES)
def test_grids_are_well_formed(name: str) -> None:
    check_spacing(spacing(name))


@pytest.mark.parametrize("name", NAMES)
@given(
    steps=st.integers(1, 1000),
    path=st.sampled_from(["linear", "scaled_linear", "squaredcos_cap_v2", "zero", *SCHEDULES]),
)
@settings(max_examples=40, deadline=None)
def test_every_length_on_every_schedule_is_well_formed(name: str, steps: int, path: str) -> None:
    if path in SCHEDULES:
        schedule = SCHEDULES[path]
    else:
        schedule = vp_schedule(rescale_zero_snr=True) if path == "zero" else vp_schedule(path)
    points = checked(spacing(name)(schedule, steps), schedule, name)
    assert len(points) == steps + 1
    assert points[-1].sigma == 0


@pytest.mark.parametrize("name", ["leading", "trailing", "linspace"])
def test_a_grid_may_end_at_the_least_trained_noise(name: str) -> None:
    grid = spacing(name, final="sigma_min")(SCHEDULE, 10)
    assert grid[-1] == SCHEDULE.at(0)
    checked(grid, SCHEDULE, name)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("karras", {"sigma_min": 5.0, "sigma_max": 2.0}, "sigma_min < sigma_max"),
        ("karras", {"rho": -1.0}, "positive rho"),
        ("leading", {}, "trained on 1000"),
    ],
)
def test_impossible_grids_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        spacing(name, **options)(SCHEDULE, 1001)


def test_a_large_offset_cannot_fold_the_grid() -> None:
    with pytest.raises(LdmError, match="does not fall"):
        checked(spacing("leading", steps_offset=500)(SCHEDULE, 20), SCHEDULE, "leading")
