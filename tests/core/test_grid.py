"""Grids: the points of one schedule, which copies and slices stay on."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from ldm_core.conformance import SCHEDULES
from ldm_core.numerics.grid import Grid, intervals_behind
from ldm_core.numerics.noise_schedule import (
    FlowSchedule,
    NoiseSchedule,
    VESchedule,
    VPSchedule,
    vp_schedule,
)
from ldm_core.numerics.point import CLEAN, Point

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda thing, protocol=protocol: pickle.loads(
            pickle.dumps(thing, protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}
POINTS = [Point(0.1, 0.9, 900.0), Point(0.5, 0.5, 500.0), CLEAN]
UNLIKE: list[NoiseSchedule] = [
    vp_schedule(),
    vp_schedule("linear"),
    vp_schedule(beta_end=0.013),
    vp_schedule(rescale_zero_snr=True),
    VPSchedule([0.1, 0.2, 0.5]),
    VESchedule(),
    VESchedule(sigma_min=0.02),
    VESchedule(sigma_max=60.0),
    VESchedule(num_train_timesteps=500),
    FlowSchedule(),
    FlowSchedule(500),
]
"""Schedules that each differ from all others."""
AGAIN: list[NoiseSchedule] = [
    vp_schedule("scaled_linear", 0.00085, 0.012),
    vp_schedule("linear"),
    vp_schedule(beta_end=0.013),
    vp_schedule(rescale_zero_snr=True),
    VPSchedule([0.1, 0.2, 0.5]),
    VESchedule(0.01, 50.0, 1000),
    VESchedule(sigma_min=0.02),
    VESchedule(sigma_max=60.0),
    VESchedule(num_train_timesteps=500),
    FlowSchedule(1000),
    FlowSchedule(500),
]
"""The same ones, as other objects."""


def grid_on(schedule: NoiseSchedule) -> Grid:
    times = [schedule.last - i * (schedule.last - schedule.first) / 5 for i in range(5)]
    return Grid([*map(schedule.at, times), CLEAN], schedule)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("path", SCHEDULES)
def test_a_copy_is_the_same_grid(path: str, how: str) -> None:
    """Also to a scheduler, which asks the grid for points between its own."""
    grid = grid_on(SCHEDULES[path])
    other = COPIES[how](grid)
    assert type(other) is Grid
    assert list(other) == list(grid)
    assert other.schedule == grid.schedule
    assert other == grid
    assert hash(other) == hash(grid)
    assert other.between(other[1], other[2]) == grid.between(grid[1], grid[2])
    assert other[1:].schedule == grid.schedule


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("schedule", UNLIKE, ids=lambda schedule: type(schedule).__name__)
def test_a_copy_of_a_schedule_is_the_same_one(schedule: NoiseSchedule, how: str) -> None:
    other = COPIES[how](schedule)
    assert other == schedule
    assert hash(other) == hash(schedule)
    times = [schedule.first, 1.5, 2.0, schedule.last]
    assert list(map(other.at, times)) == list(map(schedule.at, times))


def test_schedules_are_equal_where_they_are_made_alike() -> None:
    for i, one in enumerate(UNLIKE):
        for j, other in enumerate(AGAIN):
            assert (one == other) == (i == j), (i, j)
            assert (one != other) == (i != j), (i, j)
            if i == j:
                assert hash(one) == hash(other)
    assert len({*UNLIKE, *AGAIN}) == len(UNLIKE)
    assert vp_schedule() != "scaled_linear"


def test_grids_of_the_same_points_on_one_schedule_are_equal() -> None:
    one, other = Grid(POINTS, FlowSchedule()), Grid(POINTS, FlowSchedule(1000))
    assert one == other
    assert not one != other  # noqa: SIM202 - the operator itself
    assert hash(one) == hash(other)
    assert one != one[:2]


def test_grids_on_different_schedules_differ() -> None:
    """A scheduler that looks between the points walks them differently."""
    one, other = Grid(POINTS, FlowSchedule()), Grid(POINTS, FlowSchedule(500))
    assert list(one) == list(other)
    assert not one == other  # noqa: SIM201 - the operator itself
    assert one != other
    assert one.between(*one[:2]) != other.between(*other[:2])
    assert len({one, other, Grid(POINTS, FlowSchedule())}) == 2


def test_slices_are_grids_and_entries_are_points() -> None:
    schedule = FlowSchedule()
    grid = Grid(POINTS, schedule)
    assert grid[1] is POINTS[1]
    assert grid[-1] is CLEAN
    assert type(grid[1:]) is Grid
    assert grid[1:].schedule is schedule
    assert grid[::2] == Grid([POINTS[0], CLEAN], schedule)


def test_onward_goes_on_from_the_point_or_just_past_it() -> None:
    schedule = FlowSchedule()
    grid = Grid(POINTS, schedule)
    assert grid.onward(grid[1]) == grid[1:]
    near = schedule.at(500.0001)
    assert near.ratio == pytest.approx(1.0, rel=1e-6)
    assert grid.onward(near) == grid[1:]  # its own point, in place of a minute step
    between = schedule.at(700.0)
    assert grid.onward(between) == Grid([between, *POINTS[1:]], schedule)
    assert grid.onward(schedule.at(500.1)) == Grid([schedule.at(500.1), CLEAN], schedule)


def test_between_is_half_way_in_log_snr() -> None:
    for path in ("vp", "ve", "flow"):
        grid = grid_on(SCHEDULES[path])
        middle = grid.between(grid[1], grid[2])
        mean = (grid[1].half_log_snr + grid[2].half_log_snr) / 2
        assert middle.half_log_snr == pytest.approx(mean, rel=1e-9)
        again = grid.schedule.at(middle.t)
        assert math.isclose(again.alpha, middle.alpha, rel_tol=1e-6)


def test_intervals_behind_counts_from_the_noisiest() -> None:
    grid = Grid(POINTS, FlowSchedule())
    inside = FlowSchedule().at(700.0)
    assert [intervals_behind(grid, point) for point in (*grid, inside)] == [0, 1, 2, 0]


def test_a_part_of_a_run_knows_what_lies_before_and_after() -> None:
    schedule = vp_schedule()
    whole = Grid([*map(schedule.at, (900.0, 700.0, 500.0, 300.0, 100.0)), CLEAN], schedule)
    for part, before, after in (
        (whole, 0, 0),
        (whole[2:], 2, 0),
        (whole[:3], 0, 3),
        (whole[1:5][1:3], 2, 2),
        (whole[-1:], 5, 0),
        (whole.onward(whole[3]), 3, 0),
        (whole.onward(schedule.at(450.0)), 2, 0),
    ):
        assert (part.before, part.after) == (before, after)
        assert part.whole_steps == 5
        again = copy.copy(part)
        assert (again.before, again.after) == (before, after)
