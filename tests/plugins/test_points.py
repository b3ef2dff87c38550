"""Which points are best for which scheduler on which noise schedule, against the closed form.

Run as a program, this file writes the page that its test holds to be current.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch

from ldm_core.composition.recipe import as_choice
from ldm_core.conformance import GaussianData
from ldm_core.contracts import Denoise, Grid, as_spacing
from ldm_core.numerics.noise_schedule import FlowSchedule, NoiseSchedule, vp_schedule
from ldm_core.numerics.point import Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared.flow_scheduler_config import EULER, read_flow_scheduler
from ldm_plugins.families.shared.scheduler_config import read_scheduler
from pages import DOCS

PAGE = DOCS / "explanation" / "points.md"
HEAD = """# Which points go with which scheduler

A scheduler's error depends on the points that it visits as much as on its formula. These figures
are root mean square errors at the end of 20 steps on Gaussian data of mean 0.7, for which the
perfect network and the exact end are known, taken together over data of standard deviation 0.1,
0.25, 0.5 and 1: latents are wide as a whole and narrow once the prompt is known. The network is
told the timestep alone. The least error of a row is bold. `heun` and `dpm_2` call the network twice
a step.

The first column, *Diffusers*, is what a scheduler has where it is named and no spacing is: the
points of its class in Diffusers on a folder that says nothing of them. Its options are in every
column those that go with its name, as `ldm explain` shows them. The others are those that a
spacing chooses beside it, by its name without options; so `--scheduler dpmpp_2m --spacing
exponential` chooses better ones. Nothing chooses them silently. Real data is not Gaussian: look at
pictures before you decide.

A test measures these figures and writes this page.
"""
STEPS = 20
WIDTHS = (0.1, 0.25, 0.5, 1.0)
SCORES = torch.linspace(-1.5, 1.5, 7)
SCHEDULES: Mapping[str, NoiseSchedule] = {
    "Stable Diffusion's betas": vp_schedule(),
    "linear betas (DDPM, DiT, PixArt)": vp_schedule("linear", 0.0001, 0.02),
    "cosine betas": vp_schedule("squaredcos_cap_v2"),
    "rectified flow": FlowSchedule(),
}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "Stable Diffusion's betas": {"_class_name": "EulerDiscreteScheduler"},
    "linear betas (DDPM, DiT, PixArt)": {"_class_name": "EulerDiscreteScheduler"},
    "cosine betas": {"_class_name": "EulerDiscreteScheduler", "beta_schedule": "squaredcos_cap_v2"},
    "rectified flow": {"_class_name": EULER},
}
SCHEDULERS = (
    *("ddim", "euler", "lms", "pndm", "dpmpp_2m", "dpmpp_3m", "dpmpp_single", "unipc", "deis"),
    *("heun", "dpm_2"),
)
SPACINGS = (
    *("leading", "trailing", "linspace", "karras", "exponential", "beta", "quadratic"),
    *("cosine", "align_your_steps"),
)


def made(kind: str, choice: Any) -> Any:
    table = dict(as_choice(kind, choice))
    if isinstance(table.get("base"), dict):
        table["base"] = made(kind, table["base"])
    part = with_options(installed().find(kind, table.pop("name")).loaded, table)
    return as_spacing(part) if kind == "spacing" else part


def denoiser(data: GaussianData, schedule: NoiseSchedule) -> Denoise:
    """The perfect network at the timestep that it is told; what it returns is noise, or flow."""

    def denoise(x: torch.Tensor, point: Point) -> torch.Tensor:
        trained = schedule.at(point.t)
        x0 = data.denoise(x, trained)
        noise = (x - trained.alpha * x0) / trained.sigma
        if isinstance(schedule, FlowSchedule):
            return x - point.sigma * (noise - x0)
        return (x - point.sigma * noise) / point.alpha

    return denoise


def error(scheduler: Any, grid: Grid) -> float:
    """Together over the widths."""
    total = 0.0
    for width in WIDTHS:
        data = GaussianData(0.7, width)
        x = (grid[0].alpha * 0.7 + data.marginal_std(grid[0]) * SCORES).double()
        end = scheduler(x, grid, denoiser(data, grid.schedule), lambda: torch.zeros(7).double())
        exact = grid[-1].alpha * 0.7 + data.marginal_std(grid[-1]) * SCORES.double()
        total += float((end - exact).square().mean())
    return math.sqrt(total / len(WIDTHS))


def chosen(name: str, spacing: str | None, schedule: str) -> tuple[Any, Any]:
    """The scheduler with its options and the spacing in use, where a scheduler is named, and a
    spacing or none, on a folder that says nothing of points."""
    config = CONFIGS[schedule]
    read = read_flow_scheduler if config["_class_name"] == EULER else read_scheduler
    folder = read(config)
    named = None if spacing is None else f"ldm-core:{spacing}"
    layer = folder.goes_with(f"ldm-core:{name}", named)
    beside = layer.get("spacing", folder.recipe["spacing"])
    points = beside if spacing in (None, beside["name"]) else spacing
    return {**layer.get("scheduler", {}), "name": name}, points


@cache
def figures(schedule: str) -> dict[str, dict[str, float]]:
    """The errors of each scheduler, by spacing."""
    path, rows = SCHEDULES[schedule], {}
    for name in SCHEDULERS:
        choices = {"Diffusers": chosen(name, None, schedule)}
        choices |= {spacing: chosen(name, spacing, schedule) for spacing in SPACINGS}
        rows[name] = {
            column: error(
                made("scheduler", scheduler),
                Grid(made("spacing", points).points(path, STEPS, None), path),
            )
            for column, (scheduler, points) in choices.items()
        }
    return rows


def best(row: Mapping[str, float]) -> str:
    return min(row, key=row.__getitem__)


def make_page() -> str:
    parts = [HEAD]
    for schedule in SCHEDULES:
        parts.append(f"\n## {schedule[0].upper()}{schedule[1:]}\n\n")
        head = ("scheduler", "Diffusers", *(f"`{spacing}`" for spacing in SPACINGS))
        parts.append(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}\n")
        for name, row in figures(schedule).items():
            cells = [f"**{v:.2g}**" if s == best(row) else f"{v:.2g}" for s, v in row.items()]
            parts.append(f"| `{name}` | {' | '.join(cells)} |\n")
    return "".join(parts)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_page_is_current(schedule: str) -> None:
    title = f"{schedule[0].upper()}{schedule[1:]}"
    section = PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    for name, row in figures(schedule).items():
        (line,) = [line for line in section.splitlines() if line.startswith(f"| `{name}` |")]
        cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
        stated = [float(cell.strip("*")) for cell in cells]
        assert stated == [pytest.approx(value, rel=0.1) for value in row.values()]
        assert cells[list(row).index(best(row))].startswith("**")


def test_better_points_than_diffusers_have_names() -> None:
    """For the multistep methods in log-SNR, on Stable Diffusion's betas."""
    for name in ("dpmpp_2m", "dpmpp_3m", "unipc"):
        row = figures("Stable Diffusion's betas")[name]
        assert row["exponential"] < 0.2 * row["Diffusers"]


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
