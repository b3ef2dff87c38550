"""Measured on Gaussian data, whose denoiser and probability flow are known exactly."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import torch
from ldm_res import res_2m

from ldm_core.conformance import SCHEDULES, GaussianData, check_constant_x0, measured_order
from ldm_core.numerics.moves import move


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("order", [1, 2])
def test_error_falls_at_the_stated_order(order: int, path: str) -> None:
    found = measured_order(partial(res_2m, order=order), SCHEDULES[path])
    assert found == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("order", [1, 2])
def test_a_constant_x0_is_reached_exactly(order: int) -> None:
    """On the flow path the first point has alpha = 0."""
    check_constant_x0(partial(res_2m, order=order))


def test_order_one_is_ddim() -> None:
    data, schedule = GaussianData(), SCHEDULES["vp"]
    grid = [schedule.at(t) for t in (999.0, 700.0, 300.0, 20.0)]
    start = torch.linspace(-2, 2, 5, dtype=torch.float64)
    x = start
    for here, there in pairwise(grid):
        x = move(x, data.denoise(x, here), here, there)
    noise = partial(torch.zeros_like, x)
    assert res_2m(start, grid, data.denoise, noise, order=1).equal(x)
