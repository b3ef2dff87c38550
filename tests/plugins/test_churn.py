"""Churn: Algorithm 2 of Karras et al. 2022, its bounds, and what it leaves as it is."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from ldm_core import Pipeline
from ldm_core.composition.parts import check_choices
from ldm_core.conformance import SCHEDULES, GaussianData, check_constant_x0
from ldm_core.conformance.moments import moment_errors
from ldm_core.conformance.schedulers import even_grid
from ldm_core.conformance.trace import trace
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import VESchedule, vp_schedule
from ldm_core.numerics.point import CLEAN
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed

VP = vp_schedule()
SIGMAS = [12.0, 7.0, 4.5, 2.0, 1.1, 0.5, 0.2, 0.0]


def scheduler(name: str, **options: Any) -> Any:
    return with_options(installed().find("scheduler", name).loaded, options)


def churn(inner: str = "heun", **options: Any) -> Any:
    return scheduler("churn", inner=scheduler(inner), **options)


def network(x: Tensor, sigma: float) -> Tensor:
    return torch.tanh(x / math.hypot(1, sigma)) + 0.3 * math.atan(sigma) * torch.cos(x)


def draws(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(7, generator=generator, dtype=torch.float64) for _ in range(count)]


@pytest.mark.parametrize(
    "options",
    [
        {"s_churn": 1.0},
        {"s_churn": 80.0},
        {"s_churn": 2.0, "s_tmin": 0.3, "s_tmax": 5.0, "s_noise": 1.007},
    ],
    ids=str,
)
@pytest.mark.parametrize("inner", ["euler", "heun"])
def test_it_is_the_algorithm_of_the_paper(inner: str, options: dict[str, float]) -> None:
    """Line by line, with the noise in its order."""
    x, *noises = draws(20)
    ours, theirs = iter(noises), iter(noises)
    schedule = VESchedule(0.01, 50.0)
    grid = Grid([*map(schedule.at_ratio, SIGMAS[:-1]), CLEAN], schedule)
    found = churn(inner, **options)(
        x, grid, lambda x, point: network(x, point.sigma), lambda: next(ours)
    )
    steps, most = len(SIGMAS) - 1, options.get("s_tmax", math.inf)
    for here, there in pairwise(SIGMAS):
        inside = options.get("s_tmin", 0.0) <= here <= most
        gamma = min(options["s_churn"] / steps, math.sqrt(2) - 1) if inside else 0.0
        hat = here + gamma * here
        if gamma > 0:
            x = x + math.sqrt(hat**2 - here**2) * options.get("s_noise", 1.0) * next(theirs)
        d = (x - network(x, hat)) / hat
        ahead = x + (there - hat) * d
        if there > 0 and inner == "heun":
            d_2 = (ahead - network(ahead, there)) / there
            ahead = x + (there - hat) * (d + d_2) / 2
        x = ahead
    torch.testing.assert_close(found, x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["euler", "heun", "dpm_2", "ddpm", "res_2s"])
def test_without_churn_the_scheduler_within_is_as_it_was(name: str) -> None:
    grid = Grid([*map(VP.at, (999, 800, 600, 400, 200, 50)), CLEAN], VP)
    assert trace(churn(name, s_churn=0.0), grid) == trace(scheduler(name), grid)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize(("inner", "order"), [("euler", 1), ("heun", 2), ("dpm_2", 2)])
def test_the_spread_becomes_right_at_the_order_within(inner: str, order: int, path: str) -> None:
    """Noise and the exact flow both keep the marginals, so that the step's error alone is left;
    with noise of a little more than unit deviation more is left, whatever the steps."""
    errors = []
    sizes = [n + (path == "flow") for n in (47, 143)]
    for steps in sizes:
        grid = even_grid(SCHEDULES[path], steps)
        walk = churn(inner, s_churn=5.0)
        each = [moment_errors(walk, grid, data=GaussianData(std=s)) for s in (0.3, 0.7)]
        assert max(abs(mean) for mean, _ in each) < 1e-12
        errors.append(math.hypot(*(std for _, std in each)))
    assert math.log(errors[0] / errors[1]) / math.log(sizes[1] / sizes[0]) > order - 0.3
    loud = moment_errors(churn(inner, s_churn=5.0, s_noise=1.1), grid)[1]
    assert loud > 2 * abs(moment_errors(walk, grid)[1])


def test_a_constant_x0_is_reached_exactly() -> None:
    check_constant_x0(churn())


@pytest.mark.parametrize("path", SCHEDULES)
def test_it_never_goes_beyond_the_models_noisiest_point(path: str) -> None:
    schedule = SCHEDULES[path]
    grid = Grid([*even_grid(schedule, 8), CLEAN], schedule)
    asked = [call.point.ratio for call in trace(churn("euler", s_churn=80.0), grid).calls]
    assert asked[0] == grid[0].ratio
    assert max(asked) <= schedule.at(schedule.last).ratio
    assert any(not math.isclose(a, p.ratio) for a, p in zip(asked, grid, strict=False))


@pytest.mark.parametrize("part", [slice(0, 4), slice(3, 7)])
def test_gamma_is_that_of_the_whole_run(part: slice) -> None:
    """Of part of the way, as an image gives it, the share of noise is that of all its steps."""
    grid = Grid([*map(VP.at, (999, 800, 600, 400, 200, 50)), CLEAN], VP)
    whole = [c.point for c in trace(churn("euler", s_churn=2.0), grid).calls]
    some = [c.point for c in trace(churn("euler", s_churn=2.0), grid[part]).calls]
    assert some == whole[part][: len(some)]


def test_an_interval_upside_down_is_refused() -> None:
    choice = {"scheduler": {"name": "churn", "s_tmin": 3.0, "s_tmax": 2.0}}
    with pytest.raises(LdmError, match="s_tmin <= s_tmax, not 3 and 2"):
        check_choices(choice, installed())


def test_each_image_has_its_own_noise(pipe: Pipeline) -> None:
    other = pipe.replace(scheduler={"name": "churn", "inner": "euler"})
    assert other.composition.scheduler.stochastic

    def draw(**call: Any) -> Tensor:
        return other("a red star", num_inference_steps=4, output_type="latent", **call).images

    both = draw(seed=[3, 9])
    assert (draw(seed=9) - both[1:]).norm() < 1e-5 * both[1:].norm()
    still = pipe.replace(scheduler={"name": "churn", "inner": "euler", "s_churn": 0.0})
    same = [
        p("a red star", seed=3, num_inference_steps=4, output_type="latent").images
        for p in (still, pipe.replace(scheduler="euler"))
    ]
    assert same[0].equal(same[1])
    assert not same[0].equal(both[:1])
