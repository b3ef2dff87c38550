"""SA-Solver: Diffusers' coefficients, exact integrals, and exact moments on Gaussian data."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import numpy as np
import pytest
from scipy.integrate import quad

from diffusers_tables import table_of_diffusers, table_of_ours, worst_difference
from ldm_core.composition.parts import check_choices
from ldm_core.conformance import (
    SCHEDULES,
    check_constant_x0,
    check_distribution,
    errors_by_steps,
    measured_order,
)
from ldm_core.conformance.moments import moment_errors
from ldm_core.conformance.schedulers import even_grid
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from moments import DATA, table_moments
from pages import DOCS, table_rows

ORDERS = [(1, 1), (2, 2), (3, 3), (4, 4), (1, 3), (4, 2)]
VP = vp_schedule("linear", 0.0001, 0.02)


def sa_solver(**options: Any) -> Any:
    return with_options(installed().find("scheduler", "sa_solver").loaded, options)


def diffusers_solver(steps: int, predictor: int, corrector: int, **config: Any) -> Any:
    theirs = diffusers.SASolverScheduler(
        prediction_type="sample",
        predictor_order=predictor,
        corrector_order=corrector,
        beta_start=0.0001,
        beta_end=0.02,
        **config,
    )
    theirs.set_timesteps(steps)
    theirs.sigmas = theirs.sigmas.double()
    return theirs


def grid_of(theirs: Any) -> Grid:
    """The points that their step works with."""
    times = [*theirs.timesteps.tolist(), 0]
    sigmas = theirs.sigmas.tolist()
    points = [
        Point(1 / math.hypot(1, s), s / math.hypot(1, s), t)
        for s, t in zip(sigmas, times, strict=True)
    ]
    return Grid(points, VP)


@pytest.mark.parametrize("steps", [5, 20, 50])
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize(("predictor", "corrector"), ORDERS)
def test_the_table_is_that_of_diffusers(
    predictor: int, corrector: int, spacing: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the shortcut of the authors' code, and noise where theirs has it by default."""
    theirs = diffusers_solver(steps, predictor, corrector, timestep_spacing=spacing)
    options = {"predictor_order": predictor, "corrector_order": corrector}
    ours = table_of_ours(sa_solver(**options, second_order="simple"), grid_of(theirs))
    table = table_of_diffusers(theirs, monkeypatch)
    drawn = [200 <= t <= 800 for t in theirs.timesteps]
    # What they draw without using it is a column of zeros in both.
    assert [any(ours[:, 1 + len(drawn) + i] != 0) for i in range(len(drawn))] == drawn
    assert worst_difference(ours, table) < 1e-5


@pytest.mark.parametrize("tau", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(("predictor", "corrector"), ORDERS)
def test_the_integral_of_a_polynomial_is_exact(predictor: int, corrector: int, tau: float) -> None:
    """By variation of constants, with noise left out, x0 that is a polynomial in lambda makes

    x' = kept·x + sigma'·exp(-tau²·lambda')·∫ k·exp(k·lambda)·x0 dlambda, with k = 1 + tau².

    Predicted and corrected x are then the same, so that the x that the network sees suffices.
    """
    points = [VP.at(t) for t in (930, 840, 760, 690, 600, 520, 470, 400, 330, 280, 200, 120)]
    coefficients = [0.7, -0.4, 0.2, 0.1][: min(predictor, corrector)]
    k = 1 + tau**2
    seen = []

    def x0(half_log_snr: float) -> float:
        return sum(c * half_log_snr**power for power, c in enumerate(coefficients))

    def denoise(x: float, point: Point) -> float:
        seen.append(x)
        return x0(point.half_log_snr)

    options = {"predictor_order": predictor, "corrector_order": corrector, "tau": tau}
    sa_solver(**options, start=1, stop=0)(1.0, Grid(points, VP), denoise, lambda: 0.0)
    here, there = points[5], points[6]
    start, stop = here.half_log_snr, there.half_log_snr
    kept = there.sigma / here.sigma * math.exp(-(tau**2) * (stop - start))
    integral, _ = quad(
        lambda u: k * math.exp(k * u - tau**2 * stop) * x0(u), start, stop, epsabs=1e-13
    )
    assert seen[6] == pytest.approx(kept * seen[5] + there.sigma * integral, abs=1e-10)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("orders", ORDERS)
def test_without_noise_it_is_of_order_two(orders: tuple[int, int], path: str) -> None:
    """The corrector's two estimates make order two; more of them start low and err less."""
    predictor, corrector = orders
    scheduler = sa_solver(predictor_order=predictor, corrector_order=corrector, tau=0.0)
    order = 1 if corrector == 1 else 2
    assert measured_order(scheduler, SCHEDULES[path]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("path", SCHEDULES)
def test_more_estimates_err_less(path: str) -> None:
    errors = [
        errors_by_steps(
            sa_solver(predictor_order=n, corrector_order=n, tau=0.0), SCHEDULES[path], [128]
        )[0]
        for n in (1, 2, 3)
    ]
    assert errors[0] > 10 * errors[1] > 10 * errors[2]


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("orders", [(2, 2), (3, 3)])
def test_the_spread_of_samples_converges_at_order_two(orders: tuple[int, int], path: str) -> None:
    """Mean and standard deviation are exact numbers here, without sampling error."""
    predictor, corrector = orders
    scheduler = sa_solver(predictor_order=predictor, corrector_order=corrector, start=1, stop=0)
    (mean, coarse), (_, fine) = (
        moment_errors(scheduler, even_grid(SCHEDULES[path], steps)) for steps in (64, 256)
    )
    assert abs(mean) < 1e-12
    assert abs(fine) < abs(coarse) / 10
    assert abs(fine) < 5e-4 * DATA.std


@pytest.mark.parametrize("path", SCHEDULES)
def test_samples_have_the_mean_and_spread_of_the_data(path: str) -> None:
    for options in ({}, {"start": 1.0, "stop": 0.0}, {"tau": 0.5, "start": 1.0, "stop": 0.0}):
        errors = check_distribution(sa_solver(**options), SCHEDULES[path])
        assert max(map(abs, errors)) < 4


@pytest.mark.parametrize("orders", ORDERS)
def test_a_constant_x0_is_reached_exactly(orders: tuple[int, int]) -> None:
    predictor, corrector = orders
    for options in ({}, {"start": 1.0, "stop": 0.0}, {"second_order": "simple"}):
        check_constant_x0(
            sa_solver(predictor_order=predictor, corrector_order=corrector, **options)
        )


@pytest.mark.parametrize("path", SCHEDULES)
def test_noise_is_drawn_in_the_interval_alone(path: str) -> None:
    """On every path the shares mean the same: parts of the trained timesteps."""
    schedule = SCHEDULES[path]
    points = [schedule.at(schedule.first + share * 999) for share in (0.9, 0.7, 0.5, 0.3, 0.1)]
    table = table_of_ours(sa_solver(start=0.6, stop=0.25), Grid(points, schedule))
    drawn = table[-1, 5:] != 0
    assert drawn.tolist() == [False, False, True, True]


@pytest.mark.parametrize("steps", [10, 20, 50])
def test_diffusers_spends_its_last_step_without_moving(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Karras's sigmas theirs ends in a step from the least noise to itself.

    Where the network is sure of one x0, the noise that theirs leaves is just the least sigma; ours,
    with as many evaluations on the same points, leaves none.
    """
    theirs = diffusers_solver(steps, 2, 2, use_karras_sigmas=True, tau_func=lambda t: 1)
    grid = grid_of(theirs)
    assert grid[-1].ratio == grid[-2].ratio
    table = table_of_diffusers(theirs, monkeypatch)
    calls = len(grid) - 1
    noise_left = np.linalg.norm(np.delete(table[-1], range(1, 1 + calls)))
    assert noise_left == pytest.approx(grid[-1].sigma, rel=2e-3)
    ours = table_of_ours(sa_solver(start=1, stop=0), Grid([*grid[:-1], CLEAN], VP))
    assert np.abs(np.delete(ours[-1], range(1, 1 + calls))).max() == 0


def errors_on_karras(tau: int, steps: int, patch: pytest.MonkeyPatch) -> tuple[float, float]:
    """Errors of the spread, of Diffusers and of ours; the first steps are long in lambda there."""
    theirs = diffusers_solver(steps, 2, 2, use_karras_sigmas=True, tau_func=lambda t: tau)
    grid = grid_of(theirs)
    _, std = table_moments(table_of_diffusers(theirs, patch), grid[:-1])
    clean = Grid([*grid[:-1], CLEAN], VP)
    mean_error, error = moment_errors(sa_solver(tau=tau, start=1, stop=0), clean)
    assert abs(mean_error) < 1e-12
    return abs(std - DATA.marginal_std(grid[-1])), abs(error)


@pytest.mark.parametrize("steps", [10, 20, 50])
@pytest.mark.parametrize("tau", [0, 1])
def test_the_exact_weights_err_less_than_the_shortcut_of_diffusers(
    tau: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = errors_on_karras(tau, steps, monkeypatch)
    assert ours < theirs / 2


def test_the_page_states_both_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    page = table_rows(DOCS / "explanation" / "diffusers.md", 4)
    stated = [float(cell) for cell in page["SA-Solver, karras, tau 1, 20 steps"][:2]]
    assert stated == pytest.approx(errors_on_karras(1, 20, monkeypatch), rel=0.1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tau": -1}, "'tau' .* at least 0"),
        ({"start": 800}, "'start' .* at most 1"),
        ({"predictor_order": 5}, "1, 2, 3 or 4"),
    ],
)
def test_options_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        check_choices({"scheduler": {"name": "sa_solver", **given}}, installed())
