"""Traces: coefficient tables of schedulers, against Diffusers fed with basis vectors."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from ldm_core.errors import LdmError
from ldm_core.grid import Grid
from ldm_core.noise_schedule import vp_schedule
from ldm_core.plugins.options import bind
from ldm_core.plugins.registry import installed
from ldm_core.point import Point
from ldm_core.trace import LinearForm, trace
from peers import COUNTERPARTS, OWN_TIMESTEPS

CONFIG = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
# Diffusers' classes differ in where they place leading and linspace timesteps; those left in agree
# with the rule that most follow. Its LMS interpolates sigma between timesteps, ours ln(sigma).
CASES = [
    (name, spacing)
    for spacing, others in (
        ("trailing", set()),
        ("leading", OWN_TIMESTEPS),
        ("linspace", OWN_TIMESTEPS | {"ddpm", "ddim", "lms"}),
    )
    for name in COUNTERPARTS
    if name not in others
]


def read_diffusers(name: str, steps: int, spacing: str, monkeypatch: Any) -> np.ndarray:
    """Diffusers' x at each evaluation, and at the end, as coefficients of (x, each x0, each noise).

    The network's answers are basis vectors, and so is the noise, so that the sample itself is the
    row of coefficients; no network is needed.
    """
    # Some classes take no x0; they get the epsilon that stands for the basis vector.
    kind = "epsilon" if name in ("euler_ancestral", "dpm_2") else "sample"
    cls, settings = COUNTERPARTS[name]
    config = {**CONFIG, **settings, "timestep_spacing": spacing, "prediction_type": kind}
    scheduler = getattr(diffusers, cls)(**config)
    scheduler.set_timesteps(steps)
    calls = len(scheduler.timesteps)
    size = 1 + 2 * calls
    noises = iter(range(1 + calls, size))

    def basis(i: int) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.tensor(i), size).float()[None]

    module = __import__(type(scheduler).__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: basis(next(noises)), raising=False)
    x = basis(0) * float(scheduler.init_noise_sigma)
    rows = []
    for i, t in enumerate(scheduler.timesteps):
        # What the network would see: the sample at the scale of alpha² + sigma² = 1.
        rows.append(scheduler.scale_model_input(x, t))
        output = basis(1 + i)
        if kind == "epsilon":
            middle = not getattr(scheduler, "state_in_first_order", True)
            sigmas = scheduler.sigmas_interpol if middle else scheduler.sigmas
            output = (x - output) / sigmas[scheduler.step_index]
        x = scheduler.step(output, t, x).prev_sample
    return torch.cat([*rows, x]).numpy()


def read_ours(name: str, steps: int, spacing: str) -> np.ndarray:
    """The same of our scheduler, with the columns in the same order."""
    schedule = vp_schedule(**CONFIG)  # type: ignore[arg-type]
    scheduler = bind(installed().find("scheduler", name).loaded, {})
    points = bind(installed().find("spacing", spacing).loaded, {})(schedule, steps)
    grid = Grid(points, schedule)
    found = trace(scheduler, grid)
    scale = getattr(scheduler, "initial_scale", lambda a, _: math.hypot(a.alpha, a.sigma))
    calls = len(found.calls)
    symbols = ["x", *(f"x0[{i}]" for i in range(calls)), *(f"noise[{j}]" for j in range(calls))]
    rows = np.array([[x[s] for s in symbols] for x in (*(c.x for c in found.calls), found.end)])
    rows[:, 0] *= scale(grid[0], schedule.at(schedule.last))
    return rows


@pytest.mark.parametrize("steps", [5, 20, 50])
@pytest.mark.parametrize(("name", "spacing"), CASES)
def test_the_table_is_that_of_diffusers(
    name: str, spacing: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every evaluation's x, coefficient by coefficient."""
    theirs = read_diffusers(name, steps, spacing, monkeypatch)
    ours = read_ours(name, steps, spacing)
    assert ours.shape == theirs.shape
    # Theirs are made in float32; cancelling coefficients are larger than one. Between the timesteps
    # of linspace they interpolate sigma, we its logarithm.
    tolerance = 2e-4 if spacing == "linspace" else 2e-5 * max(1.0, float(np.abs(ours).max()))
    np.testing.assert_allclose(ours, theirs, atol=tolerance)


def test_one_step_of_euler_by_hand() -> None:
    grid = Grid([Point(0.6, 0.8, 9.0), Point(0.8, 0.6, 5.0)], vp_schedule())
    found = trace(bind(installed().find("scheduler", "euler").loaded, {}), grid)
    assert found.symbols == ["x", "x0[0]"]
    assert found.end["x"] == pytest.approx(0.75)
    assert found.end["x0[0]"] == pytest.approx(0.8 - 0.75 * 0.6)
    assert found.calls[0].point == grid[0]
    assert found.calls[0].x["x"] == 1.0


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_a_table_keeps_the_scale_of_a_constant(name: str) -> None:
    """Where x = alpha·c and every estimate is c, the end must be c: rows sum to one."""
    schedule = vp_schedule()
    grid = Grid(bind(installed().find("spacing", "karras").loaded, {})(schedule, 15), schedule)
    found = trace(bind(installed().find("scheduler", name).loaded, {}), grid)
    total = found.end["x"] * grid[0].alpha
    total += sum(found.end[f"x0[{i}]"] for i in range(len(found.calls)))
    assert total == pytest.approx(1.0, abs=1e-9)


def test_a_scheduler_that_is_not_linear_says_so() -> None:
    def thresholding(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return denoise(x, grid[0]).clamp(-1, 1)

    with pytest.raises(LdmError, match="not linear"):
        trace(thresholding, Grid([Point(0.6, 0.8, 9.0), Point(0.8, 0.6, 5.0)], vp_schedule()))
    with pytest.raises(TypeError):
        LinearForm({"x": 1.0}) * LinearForm({"x": 1.0})  # type: ignore[operator]
