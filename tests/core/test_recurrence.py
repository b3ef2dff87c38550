"""Recurrences: a walk by its coefficients is the walk itself, whatever the estimates and noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ldm_core.composition.linear import NOISES, VALUES
from ldm_core.contracts import as_scheduler
from ldm_core.contracts.recurrence import Recurrence, recurrence
from ldm_core.contracts.trace import trace
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.point import Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "unipc": [{"order": 3}, {"variant": "bh1"}],
    "deis": [{"order": 3}],
    "dpmpp_single": [{"order": 3}],
    "pndm": [{"warmup": "runge_kutta"}],
    "ddim": [{"eta": 1.0}],
    "lms": [{"order": 2}],
}
NAMES = sorted(
    plugin.name
    for plugin in installed().plugins
    if plugin.kind == "scheduler"
    and not plugin.name.endswith(":")
    and plugin.name not in ("dpm_adaptive", "switch")
)
CASES = [(name, options) for name in NAMES for options in [{}, *OPTIONS.get(name, [])]]


def made(name: str, options: dict[str, Any], steps: int = 12) -> tuple[Any, Grid]:
    registry, schedule = installed(), vp_schedule()
    if name in ("churn", "restart"):
        options = {"inner": as_scheduler(made("heun", {})[0]), **options}
    scheduler = as_scheduler(with_options(registry.find("scheduler", name).loaded, options))
    spacing = scheduler.points or registry.find("spacing", "trailing").loaded
    points = with_options(spacing, {})(schedule, steps) if callable(spacing) else spacing
    return scheduler, Grid(points, schedule)


def walked(own: Recurrence, x: Tensor, estimates: list[Tensor], noise: Any) -> Tensor:
    """The end of a walk by its coefficients."""
    values = [x]
    for i, stretch in enumerate((own.start, *own.steps)):
        drawn = [noise() for _ in range(stretch.noises)]
        given = [*values, *([estimates[i - 1]] if i else []), *drawn]
        values = [
            sum((c * v for c, v in zip(row, given, strict=True)), torch.zeros_like(x))
            for row in stretch.rows
        ]
    return values[0]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_walk_by_its_coefficients_ends_where_the_walk_ends(
    name: str, options: dict[str, Any]
) -> None:
    scheduler, grid = made(name, options)
    own = recurrence(scheduler, grid)
    generator = torch.Generator().manual_seed(0)
    x, *values = torch.randn(400, 5, dtype=torch.float64, generator=generator)
    estimates, asked = iter(values[:200]), []
    noise = iter(values[200:])

    def denoise(x: Tensor, point: Point) -> Tensor:
        asked.append((point, x))
        return next(estimates)

    end = scheduler.walk(x, grid, denoise, lambda: next(noise))
    assert own.points == tuple(point for point, _ in asked)
    again = iter(values[200:])
    torch.testing.assert_close(
        walked(own, x, values[:200], lambda: next(again)), end, rtol=1e-9, atol=1e-9
    )
    assert len(list(again)) == len(list(noise))
    assert own.width <= VALUES
    assert own.noises <= NOISES


@pytest.mark.parametrize("name", ["ipndm", "unipc", "lms", "pndm"])
def test_it_keeps_a_few_values_however_many_steps(name: str) -> None:
    """A table keeps every estimate: the last x of each of these is made of most of them."""
    widths = []
    for steps in (20, 40):
        scheduler, grid = made(name, {}, steps)
        widths.append(recurrence(scheduler, grid).width)
        assert len(trace(scheduler, grid).calls[-1].x.terms) > steps / 2
    assert widths[0] == widths[1] <= VALUES


def test_one_step_of_euler_by_hand() -> None:
    grid = Grid([Point(0.6, 0.8, 9.0), Point(0.8, 0.6, 5.0)], vp_schedule())
    own = recurrence(installed().find("scheduler", "euler").loaded, grid)
    assert own.start.rows == ((1.0,),)
    (step,) = own.steps
    assert step.rows == (pytest.approx((0.75, 0.8 - 0.75 * 0.6)),)
    assert own.points == (grid[0],)


def test_a_scheduler_that_is_not_linear_says_so() -> None:
    def thresholding(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return denoise(x, grid[0]).clamp(-1, 1)

    def forgetful(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return 1.0

    for scheduler in (thresholding, forgetful):
        with pytest.raises(LdmError, match="not linear"):
            recurrence(scheduler, Grid([Point(0.6, 0.8, 9.0)], vp_schedule()))
