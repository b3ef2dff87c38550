"""LCM, TCD and consistency models: Diffusers' coefficients, and exact consistency functions.

Gaussian data has an exact solution map; a network that returns it is a perfect consistency model,
and then samples must have the data's own mean and standard deviation after any number of steps.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import diffusers
import pytest
from torch import Tensor

from diffusers_tables import table_of_diffusers, table_of_ours, worst_difference
from ldm_core.composition.parts import check_choices
from ldm_core.conformance import (
    SCHEDULES,
    GaussianData,
    check_constant_x0,
    check_spacing,
    measured_order,
)
from ldm_core.conformance.moments import end_moments, moment_errors
from ldm_core.conformance.schedulers import even_grid
from ldm_core.conformance.trace import trace
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import VESchedule, VPSchedule, vp_schedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed

VP = vp_schedule()
DATA = GaussianData()


def scheduler(name: str, **options: Any) -> Any:
    return with_options(installed().find("scheduler", name).loaded, options)


def lcm_spacing(**options: Any) -> Any:
    return with_options(installed().find("spacing", "lcm").loaded, options)


def grid_of(theirs: Any, final: Point = CLEAN) -> Grid:
    """The points of their timesteps, in float64 of their own betas."""
    schedule = VPSchedule(theirs.betas.double().numpy())
    theirs.alphas_cumprod = (1 - theirs.betas.double()).cumprod(0)
    return Grid([*map(schedule.at, theirs.timesteps.tolist()), final], schedule)


# --- the spacing


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 8, 20, 50])
@pytest.mark.parametrize("name", ["LCMScheduler", "TCDScheduler"])
def test_the_spacing_is_that_of_diffusers(name: str, steps: int) -> None:
    theirs = getattr(diffusers, name)()
    theirs.set_timesteps(steps)
    assert [p.t for p in lcm_spacing()(VP, steps)[:-1]] == theirs.timesteps.tolist()


@pytest.mark.parametrize("original", [8, 30, 49, 100, 1000])
def test_every_number_of_distilled_steps_is_as_in_diffusers(original: int) -> None:
    theirs = diffusers.LCMScheduler(original_inference_steps=original)
    for steps in {1, 3, 7, 8, original // 2, original}:
        if steps <= original:
            theirs.set_timesteps(steps)
            ours = lcm_spacing(original_inference_steps=original)(VP, steps)
            assert [p.t for p in ours[:-1]] == theirs.timesteps.tolist()


def test_the_spacing_is_well_formed_on_every_path() -> None:
    check_spacing(lcm_spacing())
    assert [p.t for p in lcm_spacing()(SCHEDULES["flow"], 4)] == [1000, 760, 500, 260, 0]
    assert [p.t for p in lcm_spacing(final="sigma_min")(VP, 2)] == [999, 499, 0]


@pytest.mark.parametrize(
    ("options", "steps", "message"),
    [
        ({}, 51, "num_inference_steps is 51, but the model was distilled on 50"),
        ({"original_inference_steps": 2000}, 4, "trained on 1000"),
    ],
)
def test_steps_that_were_not_distilled_are_refused(
    options: dict[str, Any], steps: int, message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        lcm_spacing(**options)(VP, steps)


# --- LCM


@pytest.mark.parametrize("scaling", [10.0, 0.01])
@pytest.mark.parametrize("steps", [1, 4, 5, 20, 50])
def test_lcms_table_is_that_of_diffusers(
    steps: int, scaling: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a scaling of 10 the boundary is hardly seen; at 0.01 it is half of the last answer."""
    theirs = diffusers.LCMScheduler(prediction_type="sample", timestep_scaling=scaling)
    theirs.set_timesteps(steps)
    ours = table_of_ours(scheduler("lcm", timestep_scaling=scaling), grid_of(theirs))
    assert worst_difference(ours, table_of_diffusers(theirs, monkeypatch)) < 1e-5


@pytest.mark.parametrize("path", SCHEDULES)
def test_lcms_boundary_is_where_the_path_is_clean(path: str) -> None:
    """x is half of the answer at the same share of every path, and all of it at its very end."""
    schedule = SCHEDULES[path]
    # c_skip is 1/2 where timestep_scaling·t is sigma_data
    t = schedule.first - 1 + 0.05 * 1000 if path == "flow" else 0.05 * 1000
    found = trace(scheduler("lcm", timestep_scaling=0.01), Grid([schedule.at(t), CLEAN], schedule))
    share = found.end["x"]
    assert share == pytest.approx(0.5, abs=0.02)
    assert found.end["x0[0]"] == pytest.approx(math.sqrt(1 - share), abs=1e-9)
    end = trace(scheduler("lcm"), Grid([Point(1.0, 1e-6, 0.0), CLEAN], schedule)).end
    assert (end["x"], end["x0[0]"]) == (1.0, 0.0)


# --- TCD


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("steps", [1, 4, 5, 20, 50])
def test_tcds_table_is_that_of_diffusers(
    steps: int, eta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs ends at the least noise of the training."""
    theirs = diffusers.TCDScheduler(prediction_type="sample")
    theirs.set_timesteps(steps)
    grid = grid_of(theirs)
    grid = Grid([*grid[:-1], grid.schedule.at(0)], grid.schedule)
    ours = table_of_ours(scheduler("tcd", eta=eta), grid)
    assert worst_difference(ours, table_of_diffusers(theirs, monkeypatch, eta=eta)) < 1e-5


@pytest.mark.parametrize("path", SCHEDULES)
def test_tcd_without_eta_is_of_order_one(path: str) -> None:
    assert measured_order(scheduler("tcd", eta=0.0), SCHEDULES[path]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_tcd_with_an_exact_trajectory_gives_the_datas_moments(
    steps: int, eta: float, path: str
) -> None:
    """The network knows where each step goes: its x0 is what DDIM needs to land there exactly."""
    schedule = SCHEDULES[path]
    grid = Grid(lcm_spacing()(schedule, steps), schedule)
    follows = dict(pairwise(grid))

    def trajectory(here: Point) -> tuple[float, float]:
        there = follows[here]
        t = (1 - eta) * there.t
        past = there if there.sigma == 0 else schedule.at(float(int(t)) if path == "vp" else t)
        kept = past.sigma / here.sigma
        factor = past.alpha - kept * here.alpha
        slope, offset = DATA.solution(here, past)
        return (slope - kept) / factor, offset / factor

    errors = moment_errors(scheduler("tcd", eta=eta), grid, trajectory)
    assert max(map(abs, errors)) < 1e-9


# --- consistency models


@pytest.mark.parametrize("steps", [1, 5, 20, 50, 150])
def test_the_consistency_table_is_that_of_diffusers(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs takes the raw output; it gets that which EDM's preconditioning turns into x0."""
    theirs = diffusers.CMStochasticIterativeScheduler(num_train_timesteps=150, clip_denoised=False)
    theirs.set_timesteps(steps)
    theirs.sigmas = theirs.sigmas.double()
    sigmas = theirs.sigmas.tolist()
    data = 0.5

    def raw(x0: Tensor, x: Tensor, step: int) -> Tensor:
        sigma = sigmas[step]
        skip = data**2 / (sigma**2 + data**2)
        out = sigma * data / math.hypot(sigma, data)
        return (x0 - skip * x) / out

    points = [Point(1.0, sigma, i) for i, sigma in enumerate(sigmas[:-1])]
    grid = Grid([*points, CLEAN], VESchedule(0.002, 80.0))
    least = sigmas[-1]  # 0.002 in float32
    ours = table_of_ours(scheduler("consistency", sigma_min=least, sigma_data=data), grid)
    theirs_too = table_of_diffusers(theirs, monkeypatch, raw)
    if steps > 1:
        assert theirs.config.sigma_min == pytest.approx(least)
    assert worst_difference(ours, theirs_too) < 1e-5


@pytest.mark.parametrize("path", SCHEDULES)
def test_the_boundary_makes_x_the_answer_at_the_least_noise(path: str) -> None:
    """And far from it, at a ratio of 80, the answer is x0."""
    schedule = SCHEDULES[path]
    for ratio, x, x0 in ((0.002, 1.0, 0.0), (80.0, 0.0, 1.0)):
        point = schedule.at_ratio(ratio)
        bounded = scheduler("consistency", sigma_data=0.5)
        end = trace(bounded, Grid([point, CLEAN], schedule)).end
        assert end["x"] * point.alpha == pytest.approx(x, abs=1e-4)
        assert end["x0[0]"] == pytest.approx(x0, abs=1e-4)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("least", [0.002, 0.05])
def test_an_exact_consistency_model_gives_the_datas_moments(
    least: float, steps: int, path: str
) -> None:
    """A consistency model's answer lies at the least noise, and so does the end."""
    schedule = SCHEDULES[path]
    clean = Point(1.0, least, 0.0)
    grid = Grid((*even_grid(schedule, steps)[:-1], CLEAN), schedule)
    mean, std = end_moments(
        scheduler("consistency", sigma_min=least), grid, lambda p: DATA.solution(p, clean)
    )
    assert mean == pytest.approx(DATA.mean, abs=1e-12)
    assert std == pytest.approx(math.hypot(DATA.std, least), abs=1e-12)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_an_exact_latent_consistency_model_gives_the_datas_moments(steps: int, path: str) -> None:
    """Up to the boundary scaling, in which x has the share (0.5/(10·t))² of an answer."""
    schedule = SCHEDULES[path]
    grid = Grid(lcm_spacing()(schedule, steps), schedule)
    errors = moment_errors(scheduler("lcm"), grid, DATA.solution)
    held = max((0.05 / point.t) ** 2 * DATA.marginal_std(point) for point in grid[:-1])
    assert max(map(abs, errors)) < 2 * held


# --- what all three share


@pytest.mark.parametrize(
    ("name", "options"),
    [("lcm", {}), ("tcd", {}), ("tcd", {"eta": 1.0}), ("consistency", {})],
)
def test_a_constant_x0_is_reached_exactly(name: str, options: dict[str, Any]) -> None:
    """To 1e-5, which LCM's boundary stays below at these timesteps. (With EDM's boundary the
    consistency model holds on to x near the end, by design.)"""
    check_constant_x0(scheduler(name, **options))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"name": "tcd", "eta": 1.5}, "'eta' .* at most 1"),
        ({"name": "lcm", "timestep_scaling": 0}, "'timestep_scaling' .* greater than 0"),
        ({"name": "consistency", "sigma_data": 0}, "should be float | None, .* greater than 0"),
    ],
)
def test_options_out_of_range_are_refused(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        check_choices({"scheduler": choice}, installed())
