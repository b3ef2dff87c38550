"""Schedulers that start where the signal is zero: flow's t = 1, and zero terminal SNR."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ldm_core.conformance import SCHEDULES, GaussianData
from ldm_core.conformance.moments import DATA, end_moments
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed

PATHS = {"zero_snr": vp_schedule(rescale_zero_snr=True), "flow": SCHEDULES["flow"]}
EVERYWHERE = {"start": 1.0, "stop": 0.0}


def scheduler(name: str, **options: Any) -> Any:
    return with_options(installed().find("scheduler", name).loaded, options)


LINEAR = {
    "consistency": scheduler("consistency"),
    "consistency, bounded": scheduler("consistency", sigma_data=0.5),
    "er_sde": scheduler("er_sde"),
    "lcm": scheduler("lcm"),
    "res_multistep": scheduler("res_multistep", order=3),
    "restart": scheduler("restart", inner=scheduler("dpmpp_2m")),
    "sa_solver": scheduler("sa_solver", predictor_order=3, corrector_order=4, **EVERYWHERE),
    "sa_solver, ODE": scheduler("sa_solver", tau=0.0),
    "switch": scheduler("switch", first=scheduler("euler"), then=scheduler("er_sde"), at=0.2),
    "tcd": scheduler("tcd"),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("steps", [1, 2, 20])
@pytest.mark.parametrize("name", LINEAR)
def test_the_mean_is_right_and_the_spread_finite(name: str, steps: int, path: str) -> None:
    """E[x0 | x] at pure noise is the data's mean, which every step from there then keeps.

    To the last digit, save for the boundary scalings, whose two parts do not add up to one.
    """
    schedule = PATHS[path]
    points = with_options(installed().find("spacing", "trailing").loaded, {})(schedule, steps)
    assert points[0].alpha == 0
    mean, std = end_moments(LINEAR[name], Grid(points, schedule))
    assert mean == pytest.approx(DATA.mean, abs=5e-3 if "bounded" in name else 1e-6)
    assert math.isfinite(std)
    assert std < 2 * DATA.std


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_an_integrator_lands_on_the_data(method: str, path: str) -> None:
    schedule = PATHS[path]
    points = with_options(installed().find("spacing", "trailing").loaded, {})(schedule, 20)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    data = GaussianData()
    integrate = scheduler(f"torchdiffeq:{method}")
    end = integrate(x, Grid(points, schedule), data.denoise, None)
    torch.testing.assert_close(end, data.mean + data.std * x, atol=0.15, rtol=0)
