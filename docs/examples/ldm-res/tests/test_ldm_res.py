"""Measured on Gaussian data, whose denoiser and probability flow are known exactly."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import torch
from ldm_res.res_2m import res_2m

from ldm_core.conformance import (
    SCHEDULES,
    GaussianData,
    check_constant_x0,
    check_order,
    measured_order,
)
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.moves import move


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("order", [1, 2])
def test_error_falls_at_the_order_of_the_option(order: int, path: str) -> None:
    slope = measured_order(partial(res_2m, order=order), SCHEDULES[path])
    assert slope == pytest.approx(order, abs=0.15)


def test_it_is_of_the_order_that_it_declares() -> None:
    assert res_2m.order == 2
    check_order(res_2m)


@pytest.mark.parametrize("order", [1, 2])
def test_a_constant_x0_is_reached_exactly(order: int) -> None:
    """On the flow path the first point has alpha = 0."""
    check_constant_x0(partial(res_2m, order=order))


def test_order_one_is_ddim() -> None:
    data, schedule = GaussianData(), SCHEDULES["vp"]
    grid = Grid(map(schedule.at, (999.0, 700.0, 300.0, 20.0)), schedule)
    start = torch.linspace(-2, 2, 5, dtype=torch.float64)
    x = start
    for here, there in pairwise(grid):
        x = move(x, data.denoise(x, here), here, there)
    noise = partial(torch.zeros_like, x)
    assert res_2m(start, grid, data.denoise, noise, order=1).equal(x)
