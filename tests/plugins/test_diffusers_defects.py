"""The figures of docs/explanation/diffusers.md: where Diffusers errs, against closed forms.

Data is Gaussian, so the perfect network and the exact end of every walk are known. The network is
told a timestep and nothing else, as real ones are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ldm_core.conformance import GaussianData
from ldm_core.contracts import Denoise, Grid, Scheduler
from ldm_core.errors import LdmError
from ldm_core.noise_schedule import FlowSchedule, NoiseSchedule, vp_schedule
from ldm_core.plugins.options import bind
from ldm_core.plugins.registry import installed
from ldm_core.point import CLEAN, Point
from ldm_core.prediction import to_x0
from ldm_plugins.schedulers.diffusers import from_diffusers

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "diffusers.md"
DATA = GaussianData()
VP, COSINE, FLOW = vp_schedule(), vp_schedule("squaredcos_cap_v2"), FlowSchedule()
SCORES = torch.linspace(-1.5, 1.5, 7)


def perfect(schedule: NoiseSchedule) -> Denoise:
    """What the perfect network's answer, at the timestep that it is told, means at the point."""
    kind: Any = "flow" if schedule is FLOW else "epsilon"

    def denoise(x: Tensor, point: Point) -> Tensor:
        told = schedule.at(point.t)
        x0 = DATA.denoise(x, told)
        noise = (x - told.alpha * x0) / told.sigma
        return to_x0(kind, noise - x0 if kind == "flow" else noise, x, point)

    return denoise


def error(scheduler: Scheduler, grid: Grid) -> float:
    """Root mean square distance of the end to the data that the exact walk leads to."""
    start = grid[0].alpha * DATA.mean + DATA.marginal_std(grid[0]) * SCORES
    x = start.reshape(1, 1, 1, -1).repeat(1, 4, 1, 1)
    end = scheduler(x, grid, perfect(grid.schedule), lambda: torch.zeros_like(x))
    return float((end - (DATA.mean + DATA.std * SCORES)).square().mean().sqrt())


def plugin(kind: str, name: str, **options: Any) -> Any:
    return bind(installed().find(kind, name).loaded, options)


def theirs(
    cls: str, steps: int, schedule: NoiseSchedule = VP, **config: Any
) -> tuple[Scheduler, Grid]:
    scheduler = from_diffusers(cls, config=config)
    return scheduler, Grid(scheduler.own_grid(schedule, steps), schedule)


def ours(
    name: str, spacing: str, steps: int, schedule: NoiseSchedule = VP, **options: Any
) -> tuple[Scheduler, Grid]:
    points = plugin("spacing", spacing, **options)(schedule, steps)
    return plugin("scheduler", name), Grid(points, schedule)


def to_the_end(grid: Grid) -> Grid:
    """The same points, and the clean end."""
    points = [Point(p.alpha, p.sigma, p.t) for p in grid if p.sigma > 0]
    return Grid([*points, CLEAN], grid.schedule)


def still(t: float) -> int:
    """SA-Solver's noise: none."""
    return 0


def without_noise(cls: str, steps: int) -> tuple[float, float]:
    extra = {"tau_func": still} if cls.startswith("SA") else {}
    scheduler, grid = theirs(cls, steps, FLOW, **extra)
    name, options = ("sa_solver", {"tau": 0.0}) if extra else ("deis", {})
    return (
        error(scheduler, grid),
        error(plugin("scheduler", name, **options), to_the_end(grid)),
    )


def third_order(steps: int) -> tuple[float, float]:
    scheduler, grid = theirs("DPMSolverMultistepScheduler", steps, solver_order=3)
    return error(scheduler, grid), error(plugin("scheduler", "dpmpp_3m"), to_the_end(grid))


def spread(steps: int) -> tuple[float, float]:
    """Error of the standard deviation of 50,000 samples."""
    found = []
    config = {"variance_type": "fixed_large", "timestep_spacing": "trailing"}
    for scheduler, grid in (
        theirs("DDPMScheduler", steps, **config),
        (
            plugin("scheduler", "ddpm", variance="fixed_large"),
            Grid(plugin("spacing", "trailing")(VP, steps), VP),
        ),
    ):
        draws = torch.Generator().manual_seed(0)

        def noise(draws: torch.Generator = draws) -> Tensor:
            return torch.randn(1, 4, 1, 12_500, generator=draws)

        x = grid[0].alpha * DATA.mean + DATA.marginal_std(grid[0]) * noise()
        end = scheduler(x, grid, perfect(VP), noise)
        found.append(abs(float(end.std()) - DATA.std))
    return found[0], found[1]


def pair(
    one: tuple[Scheduler, Grid], other: tuple[Scheduler, Grid]
) -> tuple[float, float]:
    return error(*one), error(*other)


DPM = "DPMSolverMultistepScheduler"
FIGURES: dict[str, Callable[[], tuple[float, float]]] = {
    "DDIM, linspace, 20 steps": lambda: pair(
        theirs("DDIMScheduler", 20, timestep_spacing="linspace"),
        ours("ddim", "linspace", 20, whole_timesteps=True),
    ),
    "DDIM, trailing, 30 steps": lambda: pair(
        theirs("DDIMScheduler", 30, timestep_spacing="trailing"), ours("ddim", "trailing", 30)
    ),
    "PNDM, linspace, 20 steps": lambda: pair(
        theirs("PNDMScheduler", 20, timestep_spacing="linspace", skip_prk_steps=True),
        ours("pndm", "linspace", 20, whole_timesteps=True),
    ),
    "DEIS on a flow, 10 steps": lambda: without_noise("DEISMultistepScheduler", 10),
    "SA-Solver on a flow, no noise, 10 steps": lambda: without_noise("SASolverScheduler", 10),
    "DPM-Solver++ 2M, karras, 20 steps": lambda: pair(
        theirs(DPM, 20, use_karras_sigmas=True), ours("dpmpp_2m", "karras", 20)
    ),
    "DPM-Solver++ 2M, exponential, 20 steps": lambda: pair(
        theirs(DPM, 20, use_exponential_sigmas=True), ours("dpmpp_2m", "exponential", 20)
    ),
    "DPM-Solver++ 2M, beta, 20 steps": lambda: pair(
        theirs(DPM, 20, use_beta_sigmas=True), ours("dpmpp_2m", "beta", 20, over="sigma")
    ),
    "DPM-Solver++ 3M, 50 steps": lambda: third_order(50),
    "DDPM, fixed_large, trailing, 10 steps": lambda: spread(10),
    "Euler, linspace, 1 step": lambda: pair(
        theirs("EulerDiscreteScheduler", 1), ours("euler", "linspace", 1)
    ),
}
if __name__ == "__main__":
    for k, f in FIGURES.items():
        a, b = f()
        print(f"| {k} | {a:.2g} | {b:.2g} |", a, b)
