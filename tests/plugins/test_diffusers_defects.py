"""The figures of docs/explanation/diffusers.md: where Diffusers errs, against closed forms.

Data is Gaussian, so the perfect network and the exact end of every walk are known. The network is
told a timestep and nothing else, as real ones are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from ldm_core.conformance import GaussianData
from ldm_core.contracts import Denoise, Grid, Scheduler, as_scheduler
from ldm_core.numerics.noise_schedule import FlowSchedule, NoiseSchedule, vp_schedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.numerics.prediction import to_x0
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from ldm_plugins.schedulers.diffusers import from_diffusers
from pages import DOCS, table_rows

PAGE = DOCS / "explanation" / "diffusers.md"
DATA = GaussianData(mean=0.7, std=1.0)
VP, COSINE, FLOW = vp_schedule(), vp_schedule("squaredcos_cap_v2"), FlowSchedule()
SCORES = torch.linspace(-1.5, 1.5, 7)


def perfect(schedule: NoiseSchedule) -> Denoise:
    """What the perfect network's answer, at the timestep that it is told, means at the point."""
    kind: Any = "flow" if schedule is FLOW else "epsilon"

    def denoise(x: Tensor, point: Point) -> Tensor:
        trained = schedule.at(point.t)
        x0 = DATA.denoise(x, trained)
        noise = (x - trained.alpha * x0) / trained.sigma
        return to_x0(kind, noise - x0 if kind == "flow" else noise, x, point)

    return denoise


def error(scheduler: Scheduler, grid: Grid) -> float:
    """Root mean square distance of the end to the data that the exact walk leads to."""
    start = grid[0].alpha * DATA.mean + DATA.marginal_std(grid[0]) * SCORES
    x = start.reshape(1, 1, 1, -1).repeat(1, 4, 1, 1)
    end = scheduler(x, grid, perfect(grid.schedule), lambda: torch.zeros_like(x))
    return float((end - (DATA.mean + DATA.std * SCORES)).square().mean().sqrt())


def plugin(kind: str, name: str, **options: Any) -> Any:
    return with_options(installed().find(kind, name).loaded, options)


def theirs(
    cls: str, steps: int, schedule: NoiseSchedule = VP, **config: Any
) -> tuple[Scheduler, Grid]:
    scheduler = from_diffusers(cls, config=config)
    assert scheduler.points is not None
    return scheduler, Grid(scheduler.points(schedule, steps), schedule)


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


def from_noise(run: tuple[Scheduler, Grid]) -> float:
    """The error of a run that begins as pipelines do, with noise of the scheduler's own scale."""
    scheduler, grid = run
    start = as_scheduler(scheduler).start
    x = start(grid[0], VP.at(VP.last)) * SCORES.reshape(1, 1, 1, -1).repeat(1, 4, 1, 1)
    end = scheduler(x, grid, perfect(VP), lambda: torch.zeros_like(x))
    return float((end - (DATA.mean + DATA.std * SCORES)).square().mean().sqrt())


def pair(one: tuple[Scheduler, Grid], other: tuple[Scheduler, Grid]) -> tuple[float, float]:
    return error(*one), error(*other)


def ddim(spacing: str, steps: int) -> tuple[float, float]:
    whole = {"whole_timesteps": True} if spacing == "linspace" else {}
    return pair(
        theirs("DDIMScheduler", steps, timestep_spacing=spacing),
        ours("ddim", spacing, steps, **whole),
    )


def pndm(steps: int) -> tuple[float, float]:
    return pair(
        theirs("PNDMScheduler", steps, timestep_spacing="linspace", skip_prk_steps=True),
        ours("pndm", "linspace", steps, whole_timesteps=True),
    )


def dpm(curve: str, steps: int) -> tuple[float, float]:
    return pair(theirs(DPM, steps, **{f"use_{curve}_sigmas": True}), ours("dpmpp_2m", curve, steps))


DPM, UNIPC = "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"
FLOWING = {"prediction_type": "flow_prediction"}
FIGURES: dict[str, Callable[[], tuple[float, float]]] = {
    "DDIM, linspace, 20 steps": lambda: ddim("linspace", 20),
    "DDIM, linspace, 600 steps": lambda: ddim("linspace", 600),
    "DDIM, trailing, 30 steps": lambda: ddim("trailing", 30),
    "DDIM, trailing, 600 steps": lambda: ddim("trailing", 600),
    "PNDM, linspace, 20 steps": lambda: pndm(20),
    "PNDM, linspace, 600 steps": lambda: pndm(600),
    "DEIS on a flow, 10 steps": lambda: without_noise("DEISMultistepScheduler", 10),
    "SA-Solver on a flow, tau 0, 10 steps": lambda: without_noise("SASolverScheduler", 10),
    "DPM-Solver++ 2M, exponential, 80 steps": lambda: dpm("exponential", 80),
    "DPM-Solver++ 2M, karras, 80 steps": lambda: dpm("karras", 80),
    "Euler, linspace, 1 step": lambda: (
        from_noise(theirs("EulerDiscreteScheduler", 1)),
        from_noise(ours("euler", "linspace", 1)),
    ),
}
"""Errors of Diffusers and of ours."""


def loop(cls: str, steps: int, betas: str = "scaled_linear", **config: Any) -> Tensor:
    """Diffusers' own loop, as its pipeline for Stable Diffusion makes it."""
    ends = {} if betas == "squaredcos_cap_v2" else {"beta_start": 0.00085, "beta_end": 0.012}
    scheduler = getattr(diffusers, cls)(beta_schedule=betas, **ends, **config)
    scheduler.set_timesteps(steps)
    x = torch.ones(1, 4, 2, 2)
    for t in scheduler.timesteps:
        x = scheduler.step(torch.tanh(scheduler.scale_model_input(x, t)), t, x).prev_sample
    return x


NOT_A_NUMBER, CRASH = "not a number", "crash"
FAILURES: dict[str, tuple[str, Callable[[], Tensor], Callable[[], tuple[Scheduler, Grid]]]] = {
    "DPM-Solver++ 2M on a flow, karras, 10 steps": (
        NOT_A_NUMBER,
        lambda: loop(DPM, 10, use_flow_sigmas=True, use_karras_sigmas=True, **FLOWING),
        lambda: ours("dpmpp_2m", "karras", 10, FLOW),
    ),
    "DPM-Solver++ 2M on a flow, beta, 10 steps": (
        NOT_A_NUMBER,
        lambda: loop(DPM, 10, use_flow_sigmas=True, use_beta_sigmas=True, **FLOWING),
        lambda: ours("dpmpp_2m", "beta", 10, FLOW),
    ),
    "DPM-Solver++ 2M, beta, 35 steps": (
        CRASH,
        lambda: loop(DPM, 35, use_beta_sigmas=True),
        lambda: ours("dpmpp_2m", "beta", 35, over="sigma"),
    ),
    "DPM-Solver++ 2M, karras, cosine betas, 20 steps": (
        CRASH,
        lambda: loop(DPM, 20, "squaredcos_cap_v2", use_karras_sigmas=True),
        lambda: ours("dpmpp_2m", "karras", 20, COSINE),
    ),
    "UniPC, beta, 35 steps": (
        CRASH,
        lambda: loop(UNIPC, 35, use_beta_sigmas=True),
        lambda: ours("unipc", "beta", 35, over="sigma"),
    ),
    "UniPC, bh1, 10 steps": (
        NOT_A_NUMBER,
        lambda: loop(UNIPC, 10, solver_type="bh1"),
        lambda: plugin_and_grid("unipc", "trailing", 10, variant="bh1"),
    ),
    "UniPC, no lower_order_final, 10 steps": (
        NOT_A_NUMBER,
        lambda: loop(UNIPC, 10, lower_order_final=False),
        lambda: plugin_and_grid("unipc", "trailing", 10, lower_order_final=False),
    ),
}
"""What Diffusers does in place of giving numbers, and the run of ours."""


def plugin_and_grid(name: str, spacing: str, steps: int, **options: Any) -> tuple[Scheduler, Grid]:
    return plugin("scheduler", name, **options), ours(name, spacing, steps)[1]


@pytest.mark.parametrize("row", FIGURES)
def test_the_page_states_the_errors_measured(row: str) -> None:
    their_error, our_error = FIGURES[row]()
    assert our_error < 1.05 * their_error
    stated = [float(cell) for cell in table_rows(PAGE, 4)[row][:2]]
    assert stated == [pytest.approx(their_error, rel=0.1), pytest.approx(our_error, rel=0.1)]


@pytest.mark.parametrize("row", FAILURES)
def test_the_page_states_where_diffusers_gives_no_number(row: str) -> None:
    what, fails, runs = FAILURES[row]
    assert table_rows(PAGE, 3)[row][0] == what
    if what == CRASH:
        with pytest.raises((IndexError, AssertionError)):
            fails()
    else:
        assert not fails().isfinite().all()
    assert float(table_rows(PAGE, 3)[row][1]) == pytest.approx(error(*runs()), rel=0.1)


@pytest.mark.parametrize("cls", [DPM, UNIPC, "DEISMultistepScheduler", "SASolverScheduler"])
def test_a_class_that_is_told_where_it_starts_does_not_crash(cls: str) -> None:
    with pytest.raises((IndexError, AssertionError)):
        loop(cls, 35, use_beta_sigmas=True)
    assert len(theirs(cls, 35, use_beta_sigmas=True)[1]) > 30


@pytest.mark.parametrize("curve", ["karras", "exponential", "beta"])
def test_the_last_call_of_deis_has_no_effect(curve: str) -> None:
    """It ends where its last timestep is, so what the network says there comes to nothing."""
    scheduler, grid = theirs("DEISMultistepScheduler", 8, **{f"use_{curve}_sigmas": True})
    network, last = perfect(VP), grid[-1].t

    def spoilt(x: Tensor, point: Point) -> Tensor:
        return network(x, point) + (100.0 if point.t == last else 0.0)

    x = SCORES.reshape(1, 1, 1, -1).repeat(1, 4, 1, 1)
    ends = [scheduler(x, grid, d, lambda: torch.zeros_like(x)) for d in (network, spoilt)]
    assert len(grid) == 8
    torch.testing.assert_close(ends[0], ends[1])


def test_ddpm_gives_no_number_by_the_logarithm_of_its_large_variance() -> None:
    """The class takes the root of a logarithm that is negative."""
    assert not loop("DDPMScheduler", 10, variance_type="fixed_large_log").isfinite().all()
    scheduler, grid = plugin_and_grid("ddpm", "trailing", 10, variance="fixed_large_log")
    x = torch.ones(1, 4, 2, 2)
    assert scheduler(x, grid, perfect(VP), lambda: torch.ones_like(x)).isfinite().all()
