"""Coefficient tables: our schedulers', and Diffusers' by feeding them basis vectors."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from ldm_core.conformance import GaussianData
from ldm_core.conformance.trace import trace
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from moments import DATA, table_moments

SCHEDULE = vp_schedule("scaled_linear", 0.00085, 0.012)
SPACINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "leading": {"timestep_spacing": "leading", "steps_offset": 1},
    "trailing": {"timestep_spacing": "trailing"},
    "linspace": {"timestep_spacing": "linspace"},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
}
"""Where Diffusers' classes can be made to put their points."""
NOISE_PREDICTING = {
    "EulerAncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "PNDMScheduler",
}
"""Classes that take no x0; they are given the noise that stands for it."""


@dataclass(frozen=True)
class Table:
    """A scheduler on a grid, as numbers.

    Attributes:
        rows: (evaluations + 1, 1 + 2·evaluations): x at each evaluation, in the scale of
            alpha² + sigma² = 1, and at the end; columns for the first x, each x0, each noise.
        points: where the evaluations are made.
        grid: the points walked, the end last.
    """

    rows: np.ndarray
    points: list[Point]
    grid: Grid

    def moment_errors(self, data: GaussianData = DATA) -> tuple[float, float]:
        """Mean and standard deviation at the end for Gaussian data, less the exact ones."""
        mean, std = table_moments(self.rows, self.points, data)
        end = self.grid[-1]
        return mean - end.alpha * data.mean, std - data.marginal_std(end)


def supports(cls: str, config: dict[str, Any]) -> bool:
    """Whether a class of Diffusers has all these settings."""
    return set(config) <= set(inspect.signature(getattr(diffusers, cls).__init__).parameters)


def read_diffusers(
    cls: str, config: dict[str, Any], steps: int, monkeypatch: pytest.MonkeyPatch
) -> Table:
    """The table of a class of Diffusers, and the points that it walks.

    The network's answers are basis vectors, and so is the noise, so that the sample itself is the
    row of coefficients; no network is needed. Its float32 tables are replaced by float64 ones, so
    that what remains is the method.
    """
    kind = "epsilon" if cls in NOISE_PREDICTING else "sample"
    config = {"beta_schedule": "scaled_linear", "prediction_type": kind, **config}
    scheduler = getattr(diffusers, cls)(beta_start=0.00085, beta_end=0.012, **config)
    scheduler.alphas_cumprod = torch.tensor(SCHEDULE.alphas**2)
    if hasattr(scheduler, "final_alpha_cumprod") and scheduler.final_alpha_cumprod < 1:
        scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    scheduler.set_timesteps(steps)
    for name, value in list(vars(scheduler).items()):
        if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
            setattr(scheduler, name, value.double())
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    calls = len(scheduler.timesteps)
    size = 1 + 2 * calls
    noises = iter(range(1 + calls, size))

    def basis(i: int) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.tensor(i), size).double()[None]

    module = inspect.getmodule(type(scheduler))
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: basis(next(noises)), raising=False)
    by_ratio = hasattr(scheduler, "sigmas")
    x = basis(0)
    rows, points = [], []
    for i, t in enumerate(scheduler.timesteps):
        # Classes that keep x at alpha = 1 scale what the network sees by the true alpha.
        scale = float(scheduler.scale_model_input(torch.ones(1, dtype=torch.float64), t))
        if scale != 1:
            point = Point(scale, math.sqrt(1 - scale**2), float(t))
        elif by_ratio:
            point = _of_ratio(float(scheduler.sigmas[scheduler.step_index or 0]), float(t))
        else:
            point = SCHEDULE.at(float(t))
        x = x / scale if i == 0 else x
        rows.append(scheduler.scale_model_input(x, t))
        points.append(point)
        output = basis(1 + i)
        if kind == "epsilon":
            output = (rows[-1] - point.alpha * output) / point.sigma
        x = scheduler.step(output, t, x).prev_sample
    if by_ratio:
        ratios = dict.fromkeys(scheduler.sigmas.tolist())
        grid = Grid([_of_ratio(ratio, 0.0) for ratio in ratios], SCHEDULE)
    else:
        least = getattr(scheduler, "final_alpha_cumprod", 1) < 1
        # PNDM's own list holds neither the middles of its Runge-Kutta steps nor repetitions.
        whole = getattr(scheduler, "_timesteps", scheduler.timesteps.numpy()[::-1])
        times = [float(t) for t in whole[::-1]]
        grid = Grid([*map(SCHEDULE.at, times), SCHEDULE.at(0) if least else CLEAN], SCHEDULE)
    return Table(torch.cat([*rows, x]).numpy(), points, grid)


def read_ipndm(points: Sequence[Point]) -> Table:
    """The table of Diffusers' IPNDMScheduler on points of a variance-preserving path."""
    sigmas = [point.sigma for point in points]
    scheduler = diffusers.IPNDMScheduler(trained_betas=sigmas)
    scheduler.set_timesteps(len(points) - 1)
    scheduler.betas = torch.tensor(sigmas, dtype=torch.float64)
    scheduler.alphas = torch.tensor([point.alpha for point in points], dtype=torch.float64)
    calls = len(points) - 1
    eye = torch.eye(1 + 2 * calls, dtype=torch.float64)
    x, rows = eye[:1], []
    for i, (t, point) in enumerate(zip(scheduler.timesteps, points, strict=False)):
        rows.append(x)
        velocity = (point.alpha * x - eye[None, 1 + i]) / point.sigma
        x = scheduler.step(velocity, t, x).prev_sample
    return Table(torch.cat([*rows, x]).numpy(), list(points[:-1]), Grid(points, SCHEDULE))


def read_ours(name: str, options: dict[str, Any], grid: Grid) -> Table:
    """The same of our scheduler."""
    traced = trace(with_options(installed().find("scheduler", name).loaded, options), grid)
    calls = len(traced.calls)
    symbols = ["x", *(f"x0[{i}]" for i in range(calls)), *(f"noise[{j}]" for j in range(calls))]
    rows = [[x[s] for s in symbols] for x in (*(c.x for c in traced.calls), traced.end)]
    return Table(np.array(rows), [call.point for call in traced.calls], grid)


def _of_ratio(ratio: float, t: float) -> Point:
    alpha = 1 / math.hypot(1, ratio)
    return Point(alpha, ratio * alpha, t)
