"""RES multistep and ER-SDE: exact integrals, measured orders, exact moments on Gaussian data."""

from __future__ import annotations

import math
from typing import Any

import pytest
from scipy.integrate import quad

from ldm_core.conformance import (
    SCHEDULES,
    GaussianData,
    check_constant_x0,
    check_distribution,
    errors_by_steps,
    measured_order,
)
from ldm_core.conformance.moments import moment_errors
from ldm_core.conformance.schedulers import even_grid
from ldm_core.conformance.trace import trace
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.point import Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from ldm_plugins.schedulers import er_sde as er_sde_module

VP = vp_schedule()
DATA = GaussianData()
FLOW = SCHEDULES["flow"]


def scheduler(name: str, **options: Any) -> Any:
    return with_options(installed().find("scheduler", name).loaded, options)


@pytest.mark.parametrize("path", SCHEDULES)
def test_res_of_order_two(path: str) -> None:
    res = scheduler("res_multistep")
    assert measured_order(res, SCHEDULES[path]) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("path", SCHEDULES)
def test_res_of_order_three_starts_low_and_still_errs_less(path: str) -> None:
    two, three = (
        errors_by_steps(scheduler("res_multistep", order=order), SCHEDULES[path], [64, 512])
        for order in (2, 3)
    )
    assert three[1] < three[0] / 50
    assert three[0] < two[0] / 2
    assert three[1] < two[1] / 2


@pytest.mark.parametrize("order", [2, 3])
def test_res_integrates_a_polynomial_in_lambda_exactly(order: int) -> None:
    """x' = (sigma'/sigma)·x + sigma'·∫ exp(lambda)·x0 dlambda, by variation of constants."""
    points = [VP.at(t) for t in (900, 700, 580, 300, 120)]
    coefficients = [0.7, -0.4, 0.3][:order]
    seen = []

    def x0(half_log_snr: float) -> float:
        return sum(c * half_log_snr**k for k, c in enumerate(coefficients))

    def denoise(x: float, point: Point) -> float:
        seen.append(x)
        return x0(point.half_log_snr)

    end = scheduler("res_multistep", order=order)(1.0, Grid(points, VP), denoise, None)
    here, there = points[-2:]
    integral, _ = quad(lambda u: math.exp(u) * x0(u), here.half_log_snr, there.half_log_snr)
    expected = there.sigma / here.sigma * seen[-1] + there.sigma * integral
    assert end == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_er_sde_integrates_a_polynomial_in_the_ratio_exactly(order: int) -> None:
    """x'/alpha' = phi'/phi·x/alpha + phi'·∫ x0·d(-1/phi), over s = sigma/alpha (arXiv:2309.06169).

    The noise is left out; on a flow path, since the method works in ratios.
    """
    points = [FLOW.at(t) for t in (900, 780, 600, 450, 300)]
    coefficients = [0.7, -0.4, 0.3][:order]
    seen = []

    def x0(ratio: float) -> float:
        return sum(c * ratio**k for k, c in enumerate(coefficients))

    def phi(ratio: float) -> float:
        return ratio * (math.exp(ratio**0.3) + 10)

    def slope_of_phi(ratio: float) -> float:
        return math.exp(ratio**0.3) * (1 + 0.3 * ratio**0.3) + 10

    def denoise(x: float, point: Point) -> float:
        seen.append(x)
        return x0(point.ratio)

    end = scheduler("er_sde", order=order)(1.0, Grid(points, FLOW), denoise, lambda: 0.0)
    here, there = points[-2:]
    integral, _ = quad(
        lambda s: slope_of_phi(s) / phi(s) ** 2 * x0(s), there.ratio, here.ratio, epsabs=1e-13
    )
    kept = phi(there.ratio) / phi(here.ratio) * seen[-1] / here.alpha
    assert end == pytest.approx(there.alpha * (kept + phi(there.ratio) * integral), abs=1e-10)


@pytest.mark.parametrize(("scale", "name"), [("ode", "ddim"), ("sde", "ddpm")])
def test_the_ends_of_er_sdes_family(scale: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With phi(s) = s the first order is DDIM, with s² it is DDPM: the paper's ODE and SDE."""
    monkeypatch.setattr(er_sde_module, "_scale", lambda s: 1.0 if scale == "ode" else s)
    grid = Grid([VP.at(t) for t in (900, 700, 580, 300)], VP)
    ours, theirs = trace(scheduler("er_sde", order=1), grid), trace(scheduler(name), grid)
    for symbol in theirs.symbols:
        assert ours.end[symbol] == pytest.approx(theirs.end[symbol], abs=1e-12)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize(("order", "fall"), [(1, 14), (2, 200), (3, 1000)])
def test_the_spread_of_er_sdes_samples_converges(order: int, fall: float, path: str) -> None:
    """Mean and standard deviation are exact numbers here: with 16 times the steps, their errors
    fall by 16 to the order, about; order three starts low."""
    er_sde = scheduler("er_sde", order=order)
    (mean, coarse), (_, fine) = (
        moment_errors(er_sde, even_grid(SCHEDULES[path], steps)) for steps in (32, 512)
    )
    assert abs(mean) < 1e-12
    assert abs(fine) < abs(coarse) / fall
    assert abs(fine) < (4e-3, 3e-5, 3e-7)[order - 1] * DATA.std


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("order", [2, 3])
def test_er_sdes_samples_have_the_mean_and_spread_of_the_data(order: int, path: str) -> None:
    errors = check_distribution(scheduler("er_sde", order=order), SCHEDULES[path])
    assert max(map(abs, errors)) < 4


@pytest.mark.parametrize(
    ("name", "order"),
    [("res_multistep", 2), ("res_multistep", 3)] + [("er_sde", n) for n in (1, 2, 3)],
)
def test_a_constant_x0_is_reached_exactly(name: str, order: int) -> None:
    check_constant_x0(scheduler(name, order=order))
