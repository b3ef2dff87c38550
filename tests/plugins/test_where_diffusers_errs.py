"""Where our schedulers differ from Diffusers' on purpose: the closed form says who is right.

On Gaussian data the mean and standard deviation at the end are exact, from the table alone. The
data's own standard deviation is 0.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from coefficients import SCHEDULE, SPACINGS, Table, read_diffusers, read_ipndm, read_ours
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.point import CLEAN, Point
from pages import DOCS, table_rows
from peers import DPM_MULTI, DPM_SINGLE, SDE

Patch = pytest.MonkeyPatch
Pair = tuple[Table, Table]


def multi_3_sde(patch: Patch, steps: int) -> Pair:
    config = {"solver_order": 3, **SDE, **SPACINGS["trailing"]}
    theirs = read_diffusers(DPM_MULTI, config, steps, patch)
    return theirs, read_ours("dpmpp_3m_sde", {}, theirs.grid)


def single_sde(patch: Patch, steps: int, order: int, solver_type: str) -> Pair:
    settings = {"solver_type": solver_type, "solver_order": order}
    theirs = read_diffusers(DPM_SINGLE, {**settings, **SDE}, steps, patch)
    options = {"solver_type": solver_type, "order": order, "eta": 1.0}
    return theirs, read_ours("dpmpp_single", options, theirs.grid)


def deis_karras(patch: Patch, order: int) -> Pair:
    config = {"solver_order": order, **SPACINGS["karras"]}
    theirs = read_diffusers("DEISMultistepScheduler", config, 20, patch)
    grid = Grid([*theirs.points, CLEAN], SCHEDULE)
    return theirs, read_ours("deis", {"order": order}, grid)


def ipndm_from_pure_noise() -> Pair:
    """On the path of its own, which begins at alpha = 0."""
    sigmas = [math.sin(math.pi / 2 * (1 - i / 20)) ** 2 for i in range(21)]
    theirs = read_ipndm([Point(math.sqrt(1 - s * s), s, s) for s in sigmas])
    return theirs, read_ours("ipndm", {}, theirs.grid)


def ddpm_large(patch: Patch, spacing: str) -> Pair:
    config = {"clip_sample": False, "variance_type": "fixed_large", **SPACINGS[spacing]}
    theirs = read_diffusers("DDPMScheduler", config, 20, patch)
    return theirs, read_ours("ddpm", {"variance": "fixed_large"}, theirs.grid)


FIGURES: dict[str, Callable[[Patch], Pair]] = {
    "DPM-Solver++ 3M SDE, trailing, 50 steps": lambda p: multi_3_sde(p, 50),
    "DPM-Solver++ 3M SDE, trailing, 200 steps": lambda p: multi_3_sde(p, 200),
    "DPM-Solver++ single-step 3 SDE, heun, 50 steps": lambda p: single_sde(p, 50, 3, "heun"),
    "DPM-Solver++ single-step 2 SDE, 101 steps": lambda p: single_sde(p, 101, 2, "midpoint"),
    "DPM-Solver++ single-step 3 SDE, 101 steps": lambda p: single_sde(p, 101, 3, "midpoint"),
    "DEIS 3, karras, 20 steps": lambda p: deis_karras(p, 3),
    "iPNDM, its own path, 20 steps": lambda p: ipndm_from_pure_noise(),
    "DDPM fixed_large, trailing, 20 steps": lambda p: ddpm_large(p, "trailing"),
}
"""Tables of Diffusers and of ours."""


@pytest.mark.parametrize("row", FIGURES)
def test_the_page_states_the_errors_of_mean_and_spread(
    row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = (math.hypot(*t.moment_errors()) for t in FIGURES[row](monkeypatch))
    assert ours < 0.7 * theirs
    stated = [float(cell) for cell in table_rows(DOCS / "explanation" / "diffusers.md", 4)[row][:2]]
    assert stated == [pytest.approx(theirs, rel=0.1), pytest.approx(ours, rel=0.1)]


def test_the_third_order_sde_of_diffusers_drifts_off_with_more_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The weight of the second derivative tends to -1, where it should tend to 0."""
    config = {"solver_order": 3, **SDE, **SPACINGS["trailing"]}
    errors: dict[str, list[float]] = {"theirs": [], "half": [], "full": []}
    for steps in (50, 100, 200):
        theirs = read_diffusers(DPM_MULTI, config, steps, monkeypatch)
        errors["theirs"].append(theirs.moment_errors()[1])
        for curvature in ("half", "full"):
            ours = read_ours("dpmpp_3m_sde", {"curvature": curvature}, theirs.grid)
            errors[curvature].append(abs(ours.moment_errors()[1]))
    print(errors)
    assert errors["theirs"] == sorted(errors["theirs"])
    assert errors["theirs"][-1] > 0.2
    for curvature in ("half", "full"):
        assert errors[curvature] == sorted(errors[curvature], reverse=True)
        assert errors[curvature][-1] < 0.002


def test_the_single_third_order_sde_with_heun_of_diffusers_is_far_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same weight, with the same wrong sign."""
    theirs, ours = single_sde(monkeypatch, 50, 3, "heun")
    assert theirs.moment_errors()[1] > 3
    assert abs(ours.moment_errors()[1]) < 0.02


@pytest.mark.parametrize("order", [2, 3])
def test_single_steps_with_noise_drawn_anew_err_more_than_first_order(
    order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The noise of an inner point must be a part of the step's, or their covariance is missing."""
    first, _ = single_sde(monkeypatch, 101, 1, "midpoint")
    theirs, ours = single_sde(monkeypatch, 101, order, "midpoint")
    error, theirs_error, ours_error = (abs(t.moment_errors()[1]) for t in (first, theirs, ours))
    print(error, theirs_error, ours_error)
    assert theirs_error > 1.2 * error
    assert ours_error < error / 2


def test_unipc_with_bh1_of_diffusers_ends_in_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the clean end its B(h) is infinite, and is multiplied by an empty sum."""
    config = {"solver_type": "bh1", **SPACINGS["karras"]}
    theirs = read_diffusers("UniPCMultistepScheduler", config, 10, monkeypatch)
    ours = read_ours("unipc", {"variant": "bh1"}, theirs.grid)
    assert np.isnan(theirs.rows[-1]).all()
    assert np.isfinite(ours.rows).all()
    np.testing.assert_allclose(ours.rows[:-1], theirs.rows[:-1], atol=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_last_step_of_deis_in_diffusers_goes_nowhere(
    order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Karras' sigmas the last evaluation is made and not used, and noise stays."""
    theirs, ours = deis_karras(monkeypatch, order)
    np.testing.assert_array_equal(theirs.rows[-1], theirs.rows[-2])
    np.testing.assert_allclose(ours.rows[:-1], theirs.rows[:-1], atol=1e-5)
    assert abs(ours.moment_errors()[0]) < 1e-12
    assert abs(theirs.rows[-1] - ours.rows[-1]).max() > 0.01


@pytest.mark.parametrize("spacing", ["karras", "exponential"])
def test_told_to_end_at_the_least_sigma_the_last_call_is_for_nothing(
    spacing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"final_sigmas_type": "sigma_min", **SPACINGS[spacing]}
    theirs = read_diffusers(DPM_MULTI, config, 20, monkeypatch)
    assert len(theirs.points) == 20
    np.testing.assert_allclose(theirs.rows[-1], theirs.rows[-2], atol=1e-12)


def test_ipndm_of_diffusers_does_not_hear_the_first_answer() -> None:
    """At alpha = 0 it takes x0 = 0 whatever the network says."""
    theirs, ours = ipndm_from_pure_noise()
    assert abs(theirs.rows[:, 1]).max() < 1e-12
    assert abs(ours.rows[:, 1]).max() > 0.01
    # A denoiser that is always sure of one x0 must be given just that.
    assert ours.rows[-1, 1:21].sum() == pytest.approx(1.0)
    assert abs(theirs.rows[-1, 1:21].sum() - 1) > 0.003


@pytest.mark.parametrize(
    ("name", "cls", "config"),
    [
        ("ddim", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
        ("pndm", "PNDMScheduler", {"skip_prk_steps": True}),
    ],
)
def test_a_constant_stride_misses_the_points_of_linspace(
    name: str, cls: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """x is carried to one timestep, and the network is told another."""
    theirs = read_diffusers(cls, {**config, **SPACINGS["linspace"]}, 20, monkeypatch)
    ours = read_ours(name, {}, theirs.grid)
    assert abs(theirs.moment_errors()[0]) > 0.02
    assert abs(ours.moment_errors()[0]) < 1e-12


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddpm_of_diffusers_adds_noise_to_the_finished_picture(
    spacing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the larger variance, unless the last timestep is 0; Algorithm 2 of Ho et al. adds
    none."""
    theirs, ours = ddpm_large(monkeypatch, spacing)
    assert theirs.rows[-1, -1] == pytest.approx(theirs.points[-1].sigma)
    assert ours.rows[-1, -1] == 0
    np.testing.assert_allclose(ours.rows[:, :-1], theirs.rows[:, :-1], atol=1e-5)


@pytest.mark.parametrize("variance", ["fixed_large_log", "learned"])
def test_ddpm_of_diffusers_takes_the_root_of_a_logarithm(variance: str) -> None:
    """Networks say the logarithm (Nichol & Dhariwal's code), which is mostly negative."""
    theirs = diffusers.DDPMScheduler(variance_type=variance)
    theirs.set_timesteps(20)
    output = torch.full((1, 2, 4, 4), -3.0)
    output = output if variance == "learned" else output[:, :1]
    x = theirs.step(output, theirs.timesteps[0], torch.zeros(1, 1, 4, 4)).prev_sample
    assert x.isnan().all()


def test_half_the_curvature_loses_an_order() -> None:
    """In the paper's code and in Diffusers the second divided difference stands for the second
    derivative, which is twice as large. On x0 = lambda² the step must be exact."""
    points = [SCHEDULE.at(t) for t in (900.0, 800.0, 700.0, 600.0)]
    grid = Grid(points, SCHEDULE)
    here, there = points[2:]
    exact = _integral(lambda u: u * u, here, there)
    for curvature, is_exact in (("full", True), ("half", False)):
        rows = read_ours("dpmpp_3m", {"curvature": curvature, "lower_order_final": False}, grid)
        # What the last step adds, as weights of the three estimates.
        last = rows.rows[-1] - there.sigma / here.sigma * rows.rows[-2]
        step = sum(w * p.half_log_snr**2 for w, p in zip(last[1:4], points, strict=False))
        assert math.isclose(step, exact, rel_tol=1e-9) == is_exact


def _integral(x0: Any, here: Point, there: Point) -> float:
    """there.alpha times the integral of exp(u - lambda_there)·x0(u), by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    length = there.half_log_snr - here.half_log_snr
    u = here.half_log_snr + length * (nodes + 1) / 2
    values = np.exp(u - there.half_log_snr) * x0(u)
    return there.alpha * float((weights * values).sum()) * length / 2
