"""torchdiffeq's integrators: measured orders, tolerances, and refusals."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from ldm_core import Pipeline
from ldm_core.composition.parts import check_choices
from ldm_core.conformance import (
    SCHEDULES,
    GaussianData,
    check_constant_x0,
    errors_by_steps,
    measured_order,
)
from ldm_core.conformance.schedulers import even_grid
from ldm_core.conformance.trace import trace
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from ldm_plugins.schedulers import torchdiffeq as adapter
from ldm_plugins.schedulers.shared.start import karras_start
from tiny.covering import by_turns

# On Gaussian data the midpoint rule happens to gain an order.
ORDERS = {"euler": 1, "midpoint": 3, "heun2": 2, "heun3": 3, "rk4": 4}


def scheduler(name: str, **options: Any) -> Any:
    return with_options(installed().find("scheduler", name).loaded, options)


def points_asked(name: str, grid: Grid, **options: Any) -> list[Point]:
    asked = []
    data = GaussianData()

    def denoise(x: Any, point: Point) -> Any:
        asked.append(point)
        return data.denoise(x, point)

    x = torch.ones(2, 3, dtype=torch.float64)
    scheduler(f"torchdiffeq:{name}", **options)(x, grid, denoise, None)
    return asked


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize(("method", "order"), ORDERS.items())
def test_error_falls_at_the_methods_order(method: str, order: int, path: str) -> None:
    """From the very start of the path, where flow has no signal."""
    slope = measured_order(scheduler(f"torchdiffeq:{method}"), SCHEDULES[path], (16, 32, 64, 128))
    assert slope == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("path", SCHEDULES)
def test_its_euler_is_ours(path: str) -> None:
    """Euler's method in s = sigma/(alpha + sigma) is Euler's method in sigma/alpha."""
    schedule = SCHEDULES[path]
    x = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for grid in (even_grid(schedule, 7), Grid([*even_grid(schedule, 7)[:-1], CLEAN], schedule)):
        ours, theirs = (
            scheduler(name)(x, grid, GaussianData().denoise, None)
            for name in ("euler", "torchdiffeq:euler")
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("method", "path"), by_turns(adapter.ADAPTIVE, SCHEDULES))
def test_error_falls_with_the_tolerance(method: str, path: str) -> None:
    errors = [
        errors_by_steps(
            scheduler(f"torchdiffeq:{method}", rtol=tolerance, atol=tolerance),
            SCHEDULES[path],
            [10],
        )[0]
        for tolerance in (1e-4, 1e-6, 1e-8)
    ]
    assert all(fine < coarse / 3 for coarse, fine in pairwise(errors))
    assert errors[-1] < 2e-8


def test_an_adaptive_method_is_not_bound_to_the_grids_points() -> None:
    """Only where it starts and ends is given; the last step, to no noise, is the grid's."""
    schedule = SCHEDULES["flow"]
    for steps in (3, 30):
        grid = Grid([*even_grid(schedule, steps), CLEAN], schedule)
        asked = points_asked("dopri5", grid)
        assert asked[0] == grid[0]
        assert asked[-1] == grid[-2]
        assert all(p.ratio >= grid[-2].ratio for p in asked)
        assert not set(grid[1:-2]) & set(asked)


@pytest.mark.parametrize(("method", "each"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_a_fixed_method_takes_one_step_an_interval(method: str, each: int) -> None:
    """The network is told the grid's own points, and others on the path between."""
    schedule = vp_schedule()
    grid = Grid([schedule.at(t) for t in (999, 600, 300, 50)] + [CLEAN], schedule)
    asked = points_asked(method, grid)
    assert len(asked) == 3 * each + 1
    assert asked[::each] == list(grid[:-1])
    for point in asked:
        assert point.alpha**2 + point.sigma**2 == pytest.approx(1)


@pytest.mark.parametrize("method", [*adapter.FIXED, *adapter.ADAPTIVE])
def test_a_constant_x0_is_reached_exactly(method: str) -> None:
    check_constant_x0(scheduler(f"torchdiffeq:{method}"))


def test_the_worst_image_of_a_batch_sets_the_step() -> None:
    """The error of one image is not averaged away by many easy neighbours."""
    error = torch.zeros(100, 4, 8, 8)
    error[3] = 2.0
    assert adapter._worst(error).item() == 2.0


def test_it_runs_in_a_pipeline_and_starts_as_euler_does(pipe: Pipeline) -> None:
    other = pipe.replace(scheduler="torchdiffeq:rk4")
    grid = other.composition.grid(4)
    assert other.initial_scale(grid) == pipe.replace(scheduler="euler").initial_scale(grid)
    assert scheduler("torchdiffeq:rk4").start is karras_start
    spacing = pipe.recipe["spacing"]
    out = {
        name: pipe.replace(scheduler=name, spacing={**spacing, "final": "zero"})(
            "a red star", seed=1, output_type="latent"
        ).images
        for name in ("euler", "torchdiffeq:euler", "torchdiffeq:dopri5")
    }
    torch.testing.assert_close(out["euler"], out["torchdiffeq:euler"], rtol=1e-4, atol=1e-4)
    assert out["torchdiffeq:dopri5"].isfinite().all()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"name": "torchdiffeq:dopri_5"}, "no method 'dopri_5'. Did you mean 'dopri5'"),
        ({"name": "torchdiffeq:implicit_adams"}, "takes the steps to be even; 'unipc'"),
        ({"name": "torchdiffeq:rk4", "rtol": 1e-4}, "'rk4' takes the grid's steps"),
        ({"name": "torchdiffeq:dopri5", "rtol": 0}, "'rtol' .* greater than 0"),
        ({"name": "torchdiffeq:dopri5", "tol": 0.1}, "no option 'tol'"),
    ],
)
def test_what_does_not_fit_is_refused(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        check_choices({"scheduler": choice}, installed())


def test_every_method_of_torchdiffeq_is_offered_or_refused_with_a_reason() -> None:
    from torchdiffeq._impl.odeint import SOLVERS

    assert {*adapter.FIXED, *adapter.ADAPTIVE, *adapter.UNFIT} == set(SOLVERS)


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "find_spec", lambda name: None)
    with pytest.raises(LdmError, match=r"needs the package.*\n.*pip install 'ldm-core\[ode\]'"):
        check_choices({"scheduler": {"name": "torchdiffeq:rk4"}}, installed())


def test_there_is_no_trace() -> None:
    schedule = vp_schedule()
    with pytest.raises(LdmError, match="its methods have no table"):
        trace(scheduler("torchdiffeq:rk4"), Grid(even_grid(schedule, 3), schedule))


def test_a_tolerance_that_cannot_be_met_is_an_error_with_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A network that answers at random is nowhere smooth."""
    monkeypatch.setattr(adapter, "MAX_STEPS", 50)
    generator = torch.Generator().manual_seed(0)
    exact = scheduler("torchdiffeq:dopri5", rtol=1e-9, atol=1e-9)
    grid = even_grid(SCHEDULES["flow"], 4)
    with pytest.raises(LdmError, match=r"gave up: max_num_steps .*\n.*raise rtol and atol"):
        exact(torch.ones(1, 2), grid, lambda x, p: torch.randn(1, 2, generator=generator), None)
