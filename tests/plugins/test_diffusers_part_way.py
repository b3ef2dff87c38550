"""Runs from a picture: where Diffusers' classes err when they are entered part-way.

The figures of docs/explanation/diffusers.md, on Gaussian data with the perfect network, of which
the exact end is known. x begins exactly where the entry's timestep has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from ldm_core.conformance import GaussianData
from ldm_core.contracts import Grid, as_scheduler
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.point import Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from pages import DOCS, table_rows

DATA = GaussianData(mean=0.7, std=1.0)
VP = vp_schedule()
SCORES = torch.linspace(-1.5, 1.5, 7).reshape(1, 1, 1, -1).repeat(1, 4, 1, 1).double()
RATIO = "Discrete"  # in the name of a class that keeps x/alpha
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def at(point: Point) -> Tensor:
    """x of each score at a point."""
    return point.alpha * DATA.mean + DATA.marginal_std(point) * SCORES


def error(end: Tensor) -> float:
    """Root mean square distance to the data."""
    return float((end - (DATA.mean + DATA.std * SCORES)).square().mean().sqrt())


def theirs(cls: str, steps: int, walked: int, **config: Any) -> float:
    """The error of the class in the loop of Diffusers' image-to-image pipeline."""
    scheduler = getattr(diffusers, cls)(**BETAS, **config)
    scheduler.set_timesteps(steps)
    skipped = (steps - walked) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    timesteps = scheduler.timesteps[skipped:]
    first = VP.at(float(timesteps[0]))
    return error(loop(scheduler, timesteps, at(first) / (first.alpha if RATIO in cls else 1.0)))


def loop(scheduler: Any, timesteps: Tensor, x: Tensor) -> Tensor:
    """The end of a loop of Diffusers with the perfect network."""
    for t in timesteps:
        point = VP.at(float(t))
        seen = scheduler.scale_model_input(x, t)
        noise = (seen - point.alpha * DATA.denoise(seen, point)) / point.sigma
        x = scheduler.step(noise, t, x).prev_sample
    return x


def ours(name: str, spacing: str, steps: int, walked: int, **options: Any) -> float:
    """The error of our scheduler on the end of the same grid."""
    parts = installed()
    whole = {"steps_offset": 1} if spacing == "leading" else {}
    points = with_options(parts.find("spacing", spacing).loaded, whole)(VP, steps)
    grid = Grid(points, VP)[steps - walked :]
    scheduler = with_options(parts.find("scheduler", name).loaded, options)
    return error(scheduler(at(grid[0]), grid, DATA.denoise, lambda: torch.zeros_like(SCORES)))


PLMS = {"skip_prk_steps": True, "steps_offset": 1, "set_alpha_to_one": True}
PRK = {"steps_offset": 1, "set_alpha_to_one": True}
ROWS: dict[str, Callable[[], tuple[float, float]]] = {
    "PNDM, the last 10 of 20 steps": lambda: (
        theirs("PNDMScheduler", 20, 10, **PLMS),
        ours("pndm", "leading", 20, 10),
    ),
    "PNDM, the last 40 of 50 steps": lambda: (
        theirs("PNDMScheduler", 50, 40, **PLMS),
        ours("pndm", "leading", 50, 40),
    ),
    "PNDM, Runge-Kutta start, the last 10 of 20 steps": lambda: (
        theirs("PNDMScheduler", 20, 10, **PRK),
        ours("pndm", "leading", 20, 10, warmup="runge_kutta"),
    ),
    "LMS, the last 10 of 20 steps": lambda: (
        theirs("LMSDiscreteScheduler", 20, 10),
        ours("lms", "linspace", 20, 10),
    ),
    "LMS, the last 40 of 50 steps": lambda: (
        theirs("LMSDiscreteScheduler", 50, 40),
        ours("lms", "linspace", 50, 40),
    ),
    "LMS, the last 2 of 20 steps": lambda: (
        theirs("LMSDiscreteScheduler", 20, 2),
        ours("lms", "linspace", 20, 2),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_page_states_the_errors_measured(row: str) -> None:
    their_error, our_error = ROWS[row]()
    print(f"{their_error:.2g} | {our_error:.2g}")
    assert our_error < their_error / 2
    stated = [float(cell) for cell in table_rows(DOCS / "explanation" / "diffusers.md", 4)[row][:2]]
    assert stated == [pytest.approx(their_error, rel=0.1), pytest.approx(our_error, rel=0.1)]


@pytest.mark.parametrize(("spacing", "right"), [("linspace", False), ("leading", True)])
def test_listed_timesteps_start_from_the_deviation_of_x_there(spacing: str, right: bool) -> None:
    """x of unit-variance data has unit variance. Diffusers leaves the data's part out on linspace
    and trailing, which a list of timesteps has nothing to do with."""
    times = list(range(801, 0, -100))
    scheduler = diffusers.EulerDiscreteScheduler(**BETAS, timestep_spacing=spacing)
    scheduler.set_timesteps(timesteps=times)
    first = VP.at(float(times[0]))
    theirs = first.alpha * float(scheduler.init_noise_sigma)
    assert (theirs == pytest.approx(1.0, abs=1e-4)) == right
    assert abs(theirs - 1.0) < 1e-4 if right else 1.0 - theirs > 0.015
    parts = installed()
    grid = parts.find("spacing", "explicit").loaded(VP, len(times), timesteps=[*map(float, times)])
    euler = as_scheduler(parts.find("scheduler", "euler").loaded)
    assert euler.start(grid[0], VP.at(VP.last)) == pytest.approx(DATA.marginal_std(first))


def test_sa_solver_of_diffusers_noises_a_picture_for_another_sigma() -> None:
    """On Karras' sigmas it noises for the rounded timestep, and steps from the sigma."""
    scheduler = diffusers.SASolverScheduler(**BETAS, use_karras_sigmas=True)
    scheduler.set_timesteps(10)
    scheduler.set_begin_index(7)
    nothing, ones = torch.zeros(1, 1), torch.ones(1, 1)
    noised = float(scheduler.add_noise(nothing, ones, scheduler.timesteps[7:8]))
    kept = float(scheduler.add_noise(ones, nothing, scheduler.timesteps[7:8]))
    assert noised / kept != pytest.approx(float(scheduler.sigmas[7]), rel=1e-4)
    assert noised / kept == pytest.approx(VP.at(float(scheduler.timesteps[7])).ratio, rel=1e-4)
