"""Coefficient tables of Diffusers' schedulers, read out with basis vectors in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ldm_core.conformance.trace import trace
from ldm_core.contracts import Scheduler, Walk
from ldm_core.numerics.grid import Grid


def table_of_diffusers(
    scheduler: Any,
    monkeypatch: pytest.MonkeyPatch,
    raw: Callable[[Tensor, Tensor, int], Tensor] = lambda x0, x, i: x0,
    **step: Any,
) -> np.ndarray:
    """x at each evaluation and at the end, as rows of (x, each x0, each step's noise).

    Args:
        scheduler: its timesteps set.
        raw: the network's output that stands for an x0, from that, x and the number of the step.
        step: further arguments of ``step``.
    """
    calls = len(scheduler.timesteps)
    size = 1 + 2 * calls
    eye = torch.eye(size, dtype=torch.float64)
    now = 0
    module = __import__(type(scheduler).__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: eye[None, 1 + calls + now])
    x = eye[None, 0]
    rows = []
    for now, t in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, t)
        rows.append(x)
        x = scheduler.step(raw(eye[None, 1 + now], x, now), t, x, **step).prev_sample
    return torch.cat([*rows, x]).numpy()


def table_of_ours(scheduler: Scheduler | Walk, grid: Grid) -> np.ndarray:
    """The same of ours; a noise is in the column of the step that drew it."""
    draws: list[int] = []
    calls = 0

    def counted(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        def call(x: Any, point: Any) -> Any:
            nonlocal calls
            calls += 1
            return denoise(x, point)

        def draw() -> Any:
            draws.append(calls - 1)
            return noise()

        return scheduler(x, grid, call, draw)

    traced = trace(counted, grid)
    steps = len(traced.calls)
    rows = np.zeros((steps + 1, 1 + 2 * steps))
    for row, x in zip(rows, [*(call.x for call in traced.calls), traced.end], strict=True):
        row[0] = x["x"]
        row[1 : 1 + steps] = [x[f"x0[{i}]"] for i in range(steps)]
        for j, step in enumerate(draws):
            row[1 + steps + step] = x[f"noise[{j}]"]
    return rows


def worst_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The greatest difference of two tables, relative to their greatest entry."""
    assert ours.shape == theirs.shape
    difference = float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))
    assert math.isfinite(difference)
    return difference
