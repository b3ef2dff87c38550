"""What holds for every scheduler on every spacing, path, prediction type and number of steps.

Everything installed is taken from the registry, so that new schedulers and spacings are held to
the same laws.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ldm_core.conformance.spacings import PATHS, PICTURE
from ldm_core.conformance.trace import trace
from ldm_core.contracts import Grid, Scheduler, as_scheduler, as_spacing
from ldm_core.contracts.spacing import checked
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import PREDICTION_TYPES, to_x0
from ldm_core.plugins.options import REQUIRED, with_options
from ldm_core.plugins.registry import Plugin, installed

OWN = "ldm-core"
SCHEDULERS = [
    plugin.name
    for plugin in installed().of_kind("scheduler")
    # A set of plugins walks points of its own making, or is called with a member's name.
    if plugin.distribution == OWN and not plugin.name.endswith(":")
]
SPACINGS = [
    plugin.name
    for plugin in installed().of_kind("spacing")
    if plugin.distribution == OWN and plugin.name != "explicit"  # it has to be told its points
]
BOUNDARY_SCALED = {"lcm": 1e-3}
"""Schedulers that mix x into the answer, the more the smaller the timestep, and how much of it is
left at the timesteps that their models were distilled on."""

ROUNDING = 1e-5
"""In float64, after divisions by an alpha of 5e-5 at the noisiest point of squaredcos_cap_v2."""

few = st.integers(1, 30)
steps = few | st.integers(31, 300)
spacings = st.sampled_from(SPACINGS)
paths = st.sampled_from(sorted(PATHS))
types = st.sampled_from(sorted(PREDICTION_TYPES))
laws = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


@cache
def scheduler(name: str) -> Scheduler:
    """A scheduler with its defaults; one that needs another gets DDIM."""
    plugin = installed().find("scheduler", name)
    inner = {n: o.default for n, o in plugin.options.items() if o.kind == "scheduler"}
    options = {
        n: scheduler("ddim" if o is REQUIRED else o) for n, o in inner.items() if o is not None
    }
    return as_scheduler(with_options(plugin.loaded, options))


@cache
def grid(spacing: str, path: str, steps: int) -> Grid | None:
    """The grid; None where the spacing refuses, with a reason, to make one."""
    plugin: Plugin = installed().find("spacing", spacing)
    try:
        points = as_spacing(with_options(plugin.loaded, {})).points(PATHS[path], steps, PICTURE)
    except LdmError:
        return None
    return checked(points, PATHS[path], spacing)


def chosen(spacing: str, path: str, steps: int) -> Grid:
    points = grid(spacing, path, steps)
    assume(points is not None)
    assert points is not None
    return points


def test_everything_is_held_to_the_laws() -> None:
    assert {"ddim", "heun", "unipc", "dpmpp_2m_sde"} <= set(SCHEDULERS)
    assert {"karras", "leading", "beta", "cosine"} <= set(SPACINGS)


@given(steps=few | st.integers(31, 1000), spacing=spacings, path=paths)
@settings(laws, max_examples=300)
def test_a_grid_falls_strictly_from_the_trained_noise_to_none(
    steps: int, spacing: str, path: str
) -> None:
    points = chosen(spacing, path, steps)
    assert len(points) == steps + 1
    ratios = [point.ratio for point in points]
    assert sorted(set(ratios), reverse=True) == ratios
    assert ratios[-1] == 0
    noisiest = PATHS[path].at(PATHS[path].last).ratio
    assert ratios[0] <= noisiest
    assert all(0 <= point.t <= PATHS[path].last for point in points)
    assert all(a.t >= b.t for a, b in pairwise(points))


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if scheduler(name).linear])
@given(steps=few, spacing=spacings, path=paths)
@laws
def test_coefficients_are_finite(name: str, steps: int, spacing: str, path: str) -> None:
    table = trace(scheduler(name), chosen(spacing, path, steps))
    for form in (*(call.x for call in table.calls), table.end):
        assert all(map(math.isfinite, form.terms.values()))
    for call in table.calls:
        assert call.point.sigma > 0
    assert table.calls


def network(kind: str, x0: Tensor) -> Any:
    """A denoiser whose network is always sure of x0, and says so in its own prediction type."""

    def denoise(x: Tensor, point: Point) -> Tensor:
        eps = (x - point.alpha * x0) / point.sigma
        outputs = {
            "epsilon": eps,
            "v_prediction": point.alpha * eps - point.sigma * x0,
            "sample": x0,
            "flow": eps - x0,
        }
        return to_x0(kind, outputs[kind], x, point)

    return denoise


@pytest.mark.parametrize("name", SCHEDULERS)
@given(steps=steps, spacing=spacings, path=paths, kind=types, seed=st.integers(0, 9))
@laws
def test_a_network_that_is_sure_of_one_x0_is_given_it(
    name: str, steps: int, spacing: str, path: str, kind: str, seed: int
) -> None:
    if name in BOUNDARY_SCALED:
        spacing, steps = "lcm", 1 + steps % 50
    points = chosen(spacing, path, steps)
    # There an epsilon says nothing of x0, and compositions refuse such a grid.
    assume(kind != "epsilon" or points[0].alpha > 0)
    generator = torch.Generator().manual_seed(seed)

    def noise() -> Tensor:
        return torch.randn(5, generator=generator, dtype=torch.float64)

    x0 = noise()
    x = math.hypot(points[0].alpha, points[0].sigma) * noise()
    end = scheduler(name)(x, points, network(kind, x0), noise)
    assert float((end - x0).abs().max()) < BOUNDARY_SCALED.get(name, ROUNDING)
