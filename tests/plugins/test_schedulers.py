"""Schedulers: measured orders, exact limits, and Diffusers' own results."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coefficients import SCHEDULE, read_ours
from ldm_core import Pipeline
from ldm_core.conformance import (
    SCHEDULES,
    GaussianData,
    check_constant_x0,
    check_distribution,
    check_order,
    errors_by_steps,
)
from ldm_core.conformance.schedulers import even_grid, quickening_grid
from ldm_core.contracts import VariancePredicting, as_scheduler
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.point import Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from peers import COUNTERPARTS, OWN_TIMESTEPS, Counterpart, distance_to_diffusers

DATA = GaussianData()
STDS = np.array([0.3, 0.5, 0.7, 0.9])
"""Of several Gaussians at once: where the error for one passes through zero, it does so for none
of the others, and a slope can be measured."""
ODE = [
    ("ddim", {}, 1),
    ("euler", {}, 1),
    ("deis", {"order": 1}, 1),
    ("deis", {"order": 2}, 2),
    ("deis", {"order": 3}, 3),
    ("dpm_2", {}, 2),
    ("dpmpp_2m", {}, 2),
    ("dpmpp_2m", {"solver_type": "heun"}, 2),
    ("dpmpp_3m", {}, 3),
    ("dpmpp_3m", {"curvature": "half"}, 2),
    ("dpmpp_3m", {"solver_type": "heun"}, 3),
    ("dpmpp_sde", {"eta": 0.0}, 2),
    ("dpmpp_single", {"order": 1}, 1),
    ("dpmpp_single", {"order": 2}, 2),
    ("dpmpp_single", {"order": 3}, 3),
    ("dpmpp_single", {"order": 3, "solver_type": "heun"}, 3),
    ("exp_heun_2_x0", {}, 2),
    ("exp_heun_2_x0", {"solver_type": "phi_1"}, 2),
    ("gauss_legendre_2s", {}, 4),
    ("gradient_estimation", {}, 1),
    ("heun", {}, 2),
    ("heunpp2", {}, 1),
    ("ipndm", {"order": 1}, 1),
    ("ipndm", {}, 2),
    ("ipndm_v", {"order": 1}, 1),
    ("ipndm_v", {"order": 2}, 2),
    ("ipndm_v", {"order": 3}, 3),
    ("ipndm_v", {"order": 4}, 4),
    ("lms", {"order": 1}, 1),
    ("lms", {"order": 2}, 2),
    ("lms", {"order": 3}, 3),
    ("lms", {"order": 4}, 4),
    ("pndm", {}, 2),
    ("pndm", {"warmup": "runge_kutta"}, 2),
    ("radau_iia_2s", {}, 3),
    ("res_2s", {}, 2),
    ("res_2s", {"c2": 1.0}, 2),
    ("res_3s", {}, 3),
    ("res_5s", {}, 4),
    ("unipc", {"order": 1, "lower_order_final": False}, 2),
    ("unipc", {"order": 2, "lower_order_final": False}, 3),
    ("unipc", {"order": 3, "lower_order_final": False}, 4),
    ("unipc", {"order": 3, "lower_order_final": False, "variant": "bh1"}, 4),
    ("unipc", {"order": 2}, 2),
]
"""Deterministic schedulers with their orders."""
SDE = [
    ("ddpm", {}, 1),
    ("ddpm", {"variance": "fixed_large"}, 1),
    ("euler_ancestral", {}, 1),
    ("dpm_2_ancestral", {}, 2),
    ("dpmpp_2m_sde", {}, 2),
    ("dpmpp_2m_sde", {"solver_type": "heun"}, 2),
    ("dpmpp_2m_sde", {"eta": 0.5}, 2),
    ("dpmpp_3m_sde", {}, 2),
    ("dpmpp_3m_sde", {"curvature": "half"}, 2),
    ("dpmpp_3m_sde", {"solver_type": "heun"}, 2),
    ("dpmpp_sde", {}, 2),
    ("dpmpp_single", {"eta": 1.0, "order": 1}, 1),
    ("dpmpp_single", {"eta": 1.0, "order": 2}, 2),
    ("dpmpp_single", {"eta": 1.0, "order": 2, "one_path": False}, 1),
    ("exp_heun_2_x0_sde", {}, 2),
    ("exp_heun_2_x0_sde", {"solver_type": "phi_1"}, 2),
    ("seeds_2", {}, 2),
    ("seeds_2", {"solver_type": "phi_2"}, 2),
    ("seeds_2", {"eta": 0.5, "r": 0.7}, 2),
    ("seeds_3", {}, 2),
    ("seeds_3", {"eta": 0.5}, 2),
]
"""Stochastic schedulers with the order at which their standard deviation becomes right."""
MEASURED = sorted({name for name, _, _ in (*ODE, *SDE)})
BESIDE = {
    *("consistency", "lcm", "tcd"),  # test_consistency_schedulers.py
    *("er_sde", "res_multistep"),  # test_exponential_schedulers.py
    "churn",  # test_churn.py
    "dpm_adaptive",  # test_dpm_adaptive.py
    *("restart", "switch"),  # test_composite_schedulers.py
    "sa_solver",  # test_sa_solver.py
}
"""Those whose orders and moments are measured in files of their own."""
SAME_TIMESTEPS = [
    (name, spacing)
    for name in COUNTERPARTS
    for spacing in ("leading", "trailing")
    if spacing == "trailing" or name not in OWN_TIMESTEPS
]


def scheduler(name: str, **options: Any) -> Any:
    return with_options(installed().find("scheduler", name).loaded, options)


def denoise_all(x: Any, point: Point) -> Any:
    """E[x0 | x] for data of mean 0.7 and each of the deviations, x having one entry for each."""
    slope = point.alpha * STDS**2 / ((point.alpha * STDS) ** 2 + point.sigma**2)
    return DATA.mean + slope * (x - point.alpha * DATA.mean)


def error_at_the_end(walk: Any, grid: Grid) -> float:
    """Root mean square over the Gaussians, for an x that starts 1.3 deviations off the mean."""
    start, exact = (
        point.alpha * DATA.mean + 1.3 * np.hypot(point.alpha * STDS, point.sigma)
        for point in (grid[0], grid[-1])
    )
    return float(np.sqrt(np.mean((walk(start, grid, denoise_all, None) - exact) ** 2)))


def order_of(errors: list[float], sizes: Sequence[int]) -> float:
    return math.log(errors[0] / errors[1]) / math.log(sizes[1] / sizes[0])


def test_every_scheduler_is_measured() -> None:
    """By itself; sets of foreign ones are not ours to measure."""
    measured = {*MEASURED, *BESIDE}
    ours = [p.name for p in installed().of_kind("scheduler") if p.distribution == "ldm-core"]
    assert measured == {name for name in ours if not name.endswith(":")}


TOLD_BY_OPTIONS = {"deis", "unipc"}


def orders_of(name: str) -> set[int]:
    """The orders of a scheduler, with all its options, as the tables have them."""
    return {order for other, _, order in (*ODE, *SDE) if other == name}


@pytest.mark.parametrize("name", [*MEASURED, *sorted(BESIDE - {"churn", "restart", "switch"})])
def test_the_order_that_is_declared_is_that_of_the_tables(name: str) -> None:
    """Where the options change it, it is told by them, or none is declared, as none is where it is
    measured elsewhere."""
    orders = orders_of(name)
    if name in TOLD_BY_OPTIONS:
        for other, options, order in ODE:
            assert other != name or as_scheduler(scheduler(name, **options)).order == order
        return
    declared = as_scheduler(scheduler(name)).order
    assert declared == (orders.pop() if len(orders) == 1 else None)


LONG = {
    *("exp_heun_2_x0", "gauss_legendre_2s", "heunpp2", "radau_iia_2s"),
    *("res_2s", "res_3s", "res_5s", "seeds_2", "seeds_3"),
}
"""Of several evaluations a step, which the tables below measure in less time."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in LONG else [])
        for name in MEASURED
        if len(orders_of(name)) == 1
    ],
)
def test_the_kit_measures_the_order_that_is_declared(name: str) -> None:
    part = as_scheduler(scheduler(name))
    assert part.order is not None
    check_order(part)
    for wrong in (part.order / 2, part.order + 1):
        with pytest.raises(AssertionError, match=f"declares the order {wrong:g}, and is of order"):
            check_order(replace(part, order=wrong))


def test_the_kit_measures_no_order_that_is_not_declared() -> None:
    with pytest.raises(AssertionError, match="declares no order"):
        check_order(lambda x, grid, denoise, noise: x)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize(("name", "options", "order"), ODE)
def test_error_falls_at_the_stated_order(
    name: str, options: dict[str, Any], order: int, path: str
) -> None:
    """Gaussian data has an exact denoiser and an exact solution, so the slope can be measured."""
    walk, schedule = scheduler(name, **options), SCHEDULES[path]
    # Steps of order three fit whole where two intervals are left over, flow's first one aside.
    sizes = [n + (2 - n + (path == "flow")) % 3 for n in (128, 512)]
    found = order_of([error_at_the_end(walk, quickening_grid(schedule, n)) for n in sizes], sizes)
    print(f"{name} {options} {path}: {found:.2f}")
    assert found > order - 0.3


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize(("name", "options", "order"), SDE)
def test_the_spread_becomes_right_at_the_stated_order(
    name: str, options: dict[str, Any], order: int, path: str
) -> None:
    """A scheduler is linear, so on Gaussian data the mean and spread of its samples are exact."""
    errors = []
    # Single steps of order two and three fit whole, flow's first one aside.
    sizes = [n + (path == "flow") for n in (47, 143)]
    for steps in sizes:
        table = read_ours(name, options, even_grid(SCHEDULES[path], steps))
        found = [table.moment_errors(GaussianData(std=std)) for std in STDS]
        assert max(abs(mean) for mean, _ in found) < 1e-12
        errors.append(math.hypot(*(std for _, std in found)) / 2)
    print(f"{name} {options} {path}: {order_of(errors, sizes):.2f} {errors[1]:.1e}")
    assert errors[1] < (0.03 if order == 1 else 0.003)
    assert order_of(errors, sizes) > order - 0.3


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
def test_higher_single_steps_of_the_sde_come_nearer(solver_type: str, path: str) -> None:
    grid = even_grid(SCHEDULES[path], 143 + (path == "flow"))
    errors = []
    for order in (1, 2, 3):
        options = {"eta": 1.0, "order": order, "solver_type": solver_type}
        errors.append(abs(read_ours("dpmpp_single", options, grid).moment_errors()[1]))
    assert errors[2] < errors[1] < errors[0] / 5


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize(("name", "order"), {name: order for name, _, order in SDE}.items())
def test_samples_have_the_mean_and_spread_of_the_data(name: str, order: int, path: str) -> None:
    """Drawn, as a run draws them."""
    walk = scheduler(name, **({"eta": 1.0} if name == "dpmpp_single" else {}))
    errors = check_distribution(walk, SCHEDULES[path], steps=500 if order == 1 else 150)
    print(f"{name} {path}: mean and spread off by {errors[0]:.1f} and {errors[1]:.1f} errors")
    assert max(map(abs, errors)) < 4


@pytest.mark.parametrize("path", SCHEDULES)
def test_the_second_order_is_worth_it(path: str) -> None:
    first, second = (
        errors_by_steps(scheduler(name), SCHEDULES[path], [64])[0] for name in ("euler", "dpmpp_2m")
    )
    assert second < first / 10


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("name", ["deis", "dpmpp_3m", "lms", "pndm", "unipc"])
def test_on_even_steps_higher_orders_start_low_and_still_err_less(name: str, path: str) -> None:
    """Their first steps are of order one, as published."""
    error, first = (
        errors_by_steps(scheduler(n), SCHEDULES[path], [256])[0] for n in (name, "euler")
    )
    assert error < first / 20


@pytest.mark.parametrize(
    ("name", "options"), [*((n, o) for n, o, _ in ODE), *((n, o) for n, o, _ in SDE)]
)
def test_a_constant_x0_is_reached_exactly(name: str, options: dict[str, Any]) -> None:
    check_constant_x0(scheduler(name, **options))


@given(eta=st.floats(0.0, 1.0))
@settings(max_examples=20, deadline=None)
def test_ddim_ends_at_a_constant_x0_for_every_eta(eta: float) -> None:
    check_constant_x0(scheduler("ddim", eta=eta))


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_3m"])
def test_without_noise_the_sde_is_the_ode(name: str) -> None:
    grid = even_grid(SCHEDULES["vp"], 20)
    ode = read_ours(name, {}, grid).rows
    assert read_ours(f"{name}_sde", {"eta": 0.0}, grid).rows == pytest.approx(ode, abs=1e-12)


@pytest.mark.parametrize("path", SCHEDULES)
def test_a_learned_variance_of_the_truth_gives_the_truth_in_five_steps(path: str) -> None:
    """For Gaussian data the variance of x_there given x_here is known, and with it each step is
    exact, where both fixed ones are far off."""
    schedule = SCHEDULES[path]
    walk = scheduler("ddpm", variance="learned_range")
    grid = even_grid(schedule, 5)
    generator = torch.Generator().manual_seed(0)

    def noise() -> torch.Tensor:
        return torch.randn(200_000, generator=generator, dtype=torch.float64)

    shares = dict(zip(grid, map(_true_share, grid, grid[1:]), strict=False))
    latest: list[torch.Tensor] = []

    def denoise(x: torch.Tensor, point: Point) -> torch.Tensor:
        latest.append(torch.full_like(x, 2 * shares[point] - 1))
        return DATA.denoise(x, point)

    def variance() -> torch.Tensor:
        return latest[-1]

    x = grid[0].alpha * DATA.mean + DATA.marginal_std(grid[0]) * noise()
    end = walk(x, grid, VariancePredicting(denoise, variance), noise)
    exact = DATA.marginal_std(grid[-1])
    assert abs(float(end.mean()) - grid[-1].alpha * DATA.mean) < 4 * exact / math.sqrt(2e5)
    assert abs(float(end.std()) - exact) < 4 * exact / math.sqrt(4e5)
    for variance in ("fixed_small", "fixed_large"):
        _, error = read_ours("ddpm", {"variance": variance}, grid).moment_errors()
        assert abs(error) > 0.03


def _true_share(here: Point, there: Point) -> float:
    """Where ln Var(x_there | x_here) lies between those of the fixed variances, from 0 to 1."""
    pull = here.alpha / there.alpha
    large = here.sigma**2 - (pull * there.sigma) ** 2
    small = large * (there.sigma / here.sigma) ** 2
    # x_here is pull·x_there and noise of the large variance; x_there is Gaussian beforehand.
    true = 1 / (pull**2 / large + 1 / DATA.marginal_std(there) ** 2)
    return math.log(true / small) / math.log(large / small)


VARIANCES = ("fixed_small", "fixed_small_log", "fixed_large", "learned", "learned_range")


@pytest.mark.parametrize("variance", VARIANCES)
def test_each_variance_of_ddpm_is_that_of_diffusers(
    variance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step by step, from where the last step began; the last one draws nothing here."""
    theirs = diffusers.DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        variance_type=variance,
        prediction_type="sample",
        clip_sample=False,
    )
    theirs.alphas_cumprod = torch.tensor(SCHEDULE.alphas**2)
    theirs.set_timesteps(20)
    points = [SCHEDULE.at(float(t)) for t in theirs.timesteps]
    generator = torch.Generator().manual_seed(0)
    x, fresh, answer, spread = torch.randn(4, 1, 2, 3, generator=generator, dtype=torch.float64)
    # Theirs takes the number for "learned" as the variance, ours as the variance's logarithm.
    spread = spread.exp() if variance == "learned" else spread.tanh()
    own = spread.log() if variance == "learned" else spread
    denoise = VariancePredicting(lambda x, point: answer, lambda: own)
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: fresh)
    for t, pair in zip(theirs.timesteps, itertools.pairwise(points), strict=False):
        output = torch.cat([answer, spread], dim=1) if variance.startswith("learned") else answer
        expected = theirs.step(output, t, x).prev_sample
        walk = scheduler("ddpm", variance=variance)
        found = walk(x, Grid(pair, SCHEDULE), denoise, lambda: fresh)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_learned_variance_is_refused_where_the_network_says_nothing(pipe: Pipeline) -> None:
    choice = {"name": "ddpm", "variance": "learned_range"}
    with pytest.raises(LdmError, match="predicts no variance"):
        pipe.replace(scheduler=choice)
    grid = even_grid(SCHEDULES["vp"], 2)
    with pytest.raises(LdmError, match="predicts no variance"):
        scheduler(**choice)(torch.zeros(1), grid, DATA.denoise, lambda: torch.zeros(1))


START_CLASSES = {
    name: COUNTERPARTS[name].cls
    for name in ("euler", "euler_ancestral", "heun", "dpm_2", "dpm_2_ancestral", "lms", "ddim")
}


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("name", START_CLASSES)
def test_x_starts_as_in_diffusers(name: str, spacing: str) -> None:
    """Theirs scales x for alpha = 1, ours for the model's own alpha."""
    theirs = getattr(diffusers, START_CLASSES[name])(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing=spacing,
    )
    theirs.set_timesteps(20)
    start = torch.tensor([float(theirs.init_noise_sigma)])
    expected = float(theirs.scale_model_input(start, theirs.timesteps[0]))
    points = with_options(installed().find("spacing", spacing).loaded, {})(SCHEDULE, 20)
    rule = as_scheduler(scheduler(name)).start
    assert rule(points[0], SCHEDULE.at(SCHEDULE.last)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.parametrize(("name", "spacing"), SAME_TIMESTEPS)
def test_final_latents_are_those_of_diffusers(
    pipe: Pipeline, folder: Path, name: str, spacing: str, steps: int
) -> None:
    options: dict[str, Any] = {"final": "sigma_min" if name == "ddim" else "zero"}
    if spacing == "leading":
        options["steps_offset"] = 1
    choice = {"name": spacing, **options}
    ours = pipe.replace(scheduler=COUNTERPARTS[name].choice, spacing=choice)
    config = {"timestep_spacing": spacing, "clip_sample": False}
    assert distance_to_diffusers(ours, folder, name, steps, **config) < 1e-5


@pytest.mark.parametrize("warmup", ["plms", "runge_kutta"])
@pytest.mark.parametrize("steps", [5, 20])
def test_pndm_is_that_of_stable_diffusion(
    pipe: Pipeline, folder: Path, warmup: str, steps: int
) -> None:
    """The scheduler that Stable Diffusion's folders name, with their settings."""
    spacing = {"name": "leading", "steps_offset": 1, "final": "sigma_min"}
    ours = pipe.replace(scheduler={"name": "pndm", "warmup": warmup}, spacing=spacing)
    peer = Counterpart("pndm", "PNDMScheduler", {"skip_prk_steps": warmup == "plms"})
    assert distance_to_diffusers(ours, folder, peer, steps) < 1e-5


@pytest.mark.parametrize("name", ["euler", "euler_ancestral", "heun"])
def test_linspace_is_that_of_diffusers(pipe: Pipeline, folder: Path, name: str) -> None:
    ours = pipe.replace(scheduler=name, spacing={"name": "linspace", "final": "zero"})
    config = {"timestep_spacing": "linspace"}
    assert distance_to_diffusers(ours, folder, name, 20, **config) < 1e-5


# Not dpmpp_2m: Diffusers' class rounds the Karras timesteps to whole ones.
@pytest.mark.parametrize("name", ["euler", "heun"])
def test_karras_is_that_of_diffusers(pipe: Pipeline, folder: Path, name: str) -> None:
    ours = pipe.replace(scheduler=name, spacing={"name": "karras"})
    config = {"timestep_spacing": "linspace", "use_karras_sigmas": True}
    assert distance_to_diffusers(ours, folder, name, 20, **config) < 1e-4


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_with_eta_is_that_of_diffusers(pipe: Pipeline, folder: Path, eta: float) -> None:
    ours = pipe.replace(scheduler={"name": "ddim", "eta": eta})
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    generator = [torch.Generator().manual_seed(3)]
    expected = theirs(
        "a red star", generator=generator, num_inference_steps=10, eta=eta, output_type="latent"
    ).images
    found = ours("a red star", seed=3, num_inference_steps=10, output_type="latent").images
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_ddpm_is_ddim_with_all_noise_drawn_anew(pipe: Pipeline) -> None:
    """Song et al. 2021 (arXiv:2010.02502), Section 4.1."""
    pipe = pipe.replace(spacing={"name": "leading", "final": "zero"})
    one = pipe.replace(scheduler="ddpm")("a red star", seed=1, output_type="latent").images
    two = pipe.replace(scheduler={"name": "ddim", "eta": 1.0})(
        "a red star", seed=1, output_type="latent"
    ).images
    assert (one - two).norm() < 1e-5 * two.norm()


MULTISTEP = sorted(
    plugin.name
    for plugin in installed().of_kind("scheduler")
    if "lower_order_final" in plugin.options or plugin.name == "sa_solver"
)


@pytest.mark.parametrize("name", [n for n in MULTISTEP if n != "dpmpp_single"])
def test_a_part_of_the_way_ends_where_the_whole_way_comes_by(name: str) -> None:
    """Orders are lowered at the end of the whole way, not where a part of it ends."""
    trailing = with_options(installed().find("spacing", "trailing").loaded, {})
    grid = Grid(trailing(SCHEDULE, 8), SCHEDULE)
    passed: dict[Point, torch.Tensor] = {}

    def denoise(x: torch.Tensor, point: Point) -> torch.Tensor:
        passed[point] = x
        return torch.tanh(x)

    def walk(part: Grid) -> torch.Tensor:
        x, drawn = torch.linspace(-1, 1, 5).double(), torch.Generator().manual_seed(0)
        noise = functools.partial(torch.randn, 5, generator=drawn, dtype=torch.float64)
        return as_scheduler(scheduler(name))(x, part, denoise, noise)

    walk(grid)
    by = passed[grid[5]]
    assert walk(grid[:6]).equal(by)
