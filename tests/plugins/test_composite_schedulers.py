"""Schedulers around other schedulers: restarts and switches, in recipes and manifests too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.parts import check_choices
from ldm_core.composition.recipe import as_layer, lay, override, read_recipe
from ldm_core.conformance import (
    SCHEDULES,
    GaussianData,
    check_constant_x0,
    check_distribution,
    measured_order,
)
from ldm_core.conformance.moments import end_moments, moment_errors
from ldm_core.conformance.schedulers import even_grid
from ldm_core.conformance.trace import trace
from ldm_core.contracts import Scheduler, unit_variance
from ldm_core.errors import LdmError
from ldm_core.media.manifest import make_manifest, recipe_of
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.point import CLEAN
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from ldm_plugins.schedulers.shared.start import karras_start

ONE_STEP = ("ddim", "ddpm", "euler", "euler_ancestral", "heun", "dpm_2")
VP = vp_schedule()
DATA = GaussianData()
GRID = Grid([*map(VP.at, (999, 800, 600, 400, 200, 50)), CLEAN], VP)


def scheduler(name: str, **options: Any) -> Any:
    return with_options(installed().find("scheduler", name).loaded, options)


def switch(first: Any, then: Any, at: float = 0.5) -> Any:
    return scheduler("switch", first=first, then=then, at=at)


def restart(inner: str = "heun", **options: Any) -> Any:
    return scheduler("restart", inner=scheduler(inner), **options)


# --- switch


@pytest.mark.parametrize("name", ONE_STEP)
@pytest.mark.parametrize("at", [0.0, 0.2, 0.5, 1.0])
def test_a_switch_from_a_one_step_method_to_itself_changes_nothing(name: str, at: float) -> None:
    inner = scheduler(name)
    assert trace(switch(inner, inner, at), GRID) == trace(inner, GRID)


def test_a_switch_at_an_end_is_one_scheduler_alone() -> None:
    first, then = scheduler("dpmpp_2m"), scheduler("unipc")
    assert trace(switch(first, then, 1.0), GRID) == trace(first, GRID)
    assert trace(switch(first, then, 0.0), GRID) == trace(then, GRID)


@pytest.mark.parametrize(("at", "taken"), [(0.5, 3), (0.4, 2), (0.01, 1), (0.99, 6), (0.58, 3)])
def test_the_share_is_of_the_grids_steps(at: float, taken: int) -> None:
    seen: dict[str, Grid] = {}

    def note(name: str) -> Any:
        def walk(x: Any, grid: Grid, denoise: Any, noise: Any) -> Any:
            seen[name] = grid
            return x

        return walk

    switch(note("first"), note("then"), at)(1.0, GRID, None, None)
    assert seen["first"] == GRID[: taken + 1]
    assert seen.get("then", GRID[-1:]) == GRID[taken:]
    assert seen["first"].schedule is VP


def test_a_multistep_method_begins_anew_after_a_switch() -> None:
    found = trace(switch(scheduler("ddim"), scheduler("dpmpp_2m")), GRID)
    same = trace(scheduler("ddim"), GRID)
    assert found.calls[4] == same.calls[4]  # its first step is of order one
    assert found.calls[5] != same.calls[5]


def test_a_switch_starts_as_its_first_scheduler_does() -> None:
    euler, ddim = scheduler("euler"), scheduler("ddim")
    assert switch(euler, ddim).start is karras_start
    assert switch(ddim, euler).start is unit_variance
    assert switch(ddim, euler, 0.0).start is karras_start
    assert switch(switch(euler, ddim), ddim).start is karras_start


@pytest.mark.parametrize("path", SCHEDULES)
def test_a_switch_keeps_the_order_of_its_parts(path: str) -> None:
    found = measured_order(switch(scheduler("heun"), scheduler("dpm_2")), SCHEDULES[path])
    assert found == pytest.approx(2, abs=0.15)


# --- restart


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("restarts", [1, 3])
def test_restarts_walk_the_interval_again(restarts: int, path: str) -> None:
    schedule = SCHEDULES[path]
    grid = Grid([*even_grid(schedule, 40)[:-1], CLEAN], schedule)
    plain = [call.point for call in trace(scheduler("ddim"), grid).calls]
    found = trace(restart("ddim", sigma_min=0.2, sigma_max=3.0, restarts=restarts), grid)
    points = [call.point for call in found.calls]
    inside = [point for point in plain if 0.2 < point.ratio < 3.0]
    assert found.noises == restarts
    assert len(points) == len(plain) + 1 + restarts * (1 + len(inside))
    start = points.index(inside[-1]) + 1
    again = points[start : start + 1 + len(inside)]
    assert again[0].ratio == pytest.approx(3.0)
    assert again[1:] == inside


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("restarts", [1, 2, 4])
def test_restarts_shrink_an_earlier_error(restarts: int, path: str) -> None:
    """Up by noise an offset keeps its ratio to alpha; down the exact flow it goes with the spread.

    So each restart multiplies it by (alpha'·std)/(alpha·std'), with the dash at the upper end
    (Xu et al. 2023, arXiv:2306.14878, whose bound is a contraction like this one).
    """
    schedule = SCHEDULES[path]
    grid = even_grid(schedule, 2000)
    options = {"sigma_min": 0.4, "sigma_max": 3.0}
    low, high = schedule.at_ratio(0.4), schedule.at_ratio(3.0)
    factor = (high.alpha * DATA.marginal_std(low)) / (low.alpha * DATA.marginal_std(high))
    true = grid[-1].alpha * DATA.mean
    plain = end_moments(scheduler("heun"), grid, shift=0.5)[0] - true
    restarted = end_moments(restart(**options, restarts=restarts), grid, shift=0.5)[0] - true
    assert restarted / plain == pytest.approx(factor**restarts, rel=1e-3)


@pytest.mark.parametrize("path", SCHEDULES)
def test_restarts_keep_the_datas_moments(path: str) -> None:
    """What is left is the inner method's error, which falls at its order."""
    (mean, coarse), (_, fine) = (
        moment_errors(restart(), even_grid(SCHEDULES[path], steps)) for steps in (64, 256)
    )
    assert abs(mean) < 1e-12
    assert abs(fine) < abs(coarse) / 14
    assert abs(fine) < 1e-4
    assert max(map(abs, check_distribution(restart("dpmpp_2m"), SCHEDULES[path]))) < 4


def test_an_interval_off_the_grid_restarts_nothing_or_what_is_there() -> None:
    plain = scheduler("heun")
    ends_above, starts_below = GRID[:4], Grid([VP.at(5), CLEAN], VP)
    for grid in (ends_above, starts_below):
        assert trace(restart(), grid) == trace(plain, grid)
    # A run that starts inside the interval goes no higher than it started.
    inside = GRID[3:]
    assert inside[0].ratio < 2.0
    found = trace(restart("ddim", sigma_max=2.0, restarts=1), inside)
    assert max(call.point.ratio for call in found.calls) == inside[0].ratio
    assert found.noises == 1


def test_restarts_start_as_their_inner_scheduler_does() -> None:
    assert restart("euler").start is karras_start
    assert restart("ddim").start is unit_variance


# --- both


@pytest.mark.parametrize(
    "composite",
    [
        restart("heun"),
        restart("ddim", sigma_min=0.01, sigma_max=50.0, restarts=3),
        switch(scheduler("euler_ancestral"), scheduler("dpmpp_2m")),
        switch(restart("heun"), scheduler("unipc"), 0.8),
    ],
)
def test_a_constant_x0_is_reached_exactly(composite: Any) -> None:
    check_constant_x0(composite)


OWN_POINTS = Scheduler(
    walk=lambda x, grid, denoise, noise: denoise(x, grid[0]),
    points=lambda schedule, steps: [schedule.at(500), CLEAN],
)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"name": "switch", "first": "eulr", "then": "ddim"}, "no scheduler named 'eulr'. Did you"),
        ({"name": "switch", "first": "ddim", "then": "dpm_2m"}, "named 'dpm_2m'. Did you mean"),
        ({"name": "switch", "first": {"name": "ddim", "etta": 1}, "then": "ddim"}, "mean 'eta'"),
        ({"name": "switch", "first": "ddim", "then": "ddim", "at": 20}, "at most 1"),
        ({"name": "switch", "first": "ddim"}, "needs the option 'then'"),
        ({"name": "switch", "first": OWN_POINTS, "then": "ddim"}, "only walks points of its own"),
        ({"name": "switch", "first": "ddim", "then": OWN_POINTS}, "only walks points of its own"),
        ({"name": "restart", "inner": OWN_POINTS}, "'restart' walks parts of a grid"),
        ({"name": "restart", "inner": "huen"}, "Did you mean 'heun'"),
        ({"name": "restart", "sigma_min": 3.0}, "sigma_min < sigma_max, not 3 and 2"),
        ({"name": "restart", "restarts": 0}, "at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        check_choices({"scheduler": choice}, installed())


RECIPE = """
num_inference_steps = 4
spacing = "karras"

[scheduler]
name = "switch"
first = "euler_ancestral"
then = { name = "ddim", eta = 0.5 }
at = 0.5
"""


def test_a_recipe_a_manifest_and_its_replay_keep_the_inner_choices(
    folder: Path, tmp_path: Path, pipe: Pipeline
) -> None:
    (tmp_path / "switch.toml").write_text(RECIPE, encoding="utf-8")
    layer = lay(read_recipe(tmp_path / "switch.toml"), {"model": str(folder)})
    parts = compose({}, installed(), layer)
    assert {"switch", "euler_ancestral", "ddim"} <= {p.name for p in parts.plugins}
    assert parts.scheduler.start is karras_start
    first = replace(pipe, composition=parts)("a red star", seed=1, output_type="latent")
    request = parts.plan({"prompt": "a"}, [1]).request
    manifest = json.loads(json.dumps(make_manifest(parts, request, 0)))
    assert manifest["recipe"]["scheduler"] == {
        "name": "ldm-core:switch",
        "first": {"name": "ldm-core:euler_ancestral", "eta": 1.0},
        "then": {"name": "ldm-core:ddim", "eta": 0.5, "clip": None},
        "at": 0.5,
    }
    again = replace(pipe, composition=compose({}, installed(), recipe_of(manifest)))
    assert again("a red star", seed=1, output_type="latent").images.equal(first.images)


def test_the_inner_choices_can_be_set_one_by_one(pipe: Pipeline) -> None:
    """As on the command line, by --set."""
    layer = as_layer({"scheduler": "switch"})
    for setting in (
        "scheduler.first=euler",
        'scheduler.then={name = "ddim", eta = 1.0}',
        "scheduler.at=0.25",
    ):
        layer = lay(layer, override(setting))
    one = pipe.replace(**layer)
    two = pipe.replace(
        scheduler={
            "name": "switch",
            "first": "euler",
            "then": {"name": "ddim", "eta": 1.0},
            "at": 0.25,
        }
    )
    images = [p("a red star", seed=1, output_type="latent").images for p in (one, two)]
    torch.testing.assert_close(*images, rtol=0, atol=0)
