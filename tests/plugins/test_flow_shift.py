"""The spacing flow_shift: Diffusers' sigmas, the paper's equation, and every path."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from ldm_core.conformance import SCHEDULES, check_spacing
from ldm_core.contracts import LatentShape, as_spacing
from ldm_core.contracts.spacing import checked
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import FlowSchedule, vp_schedule
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_defaults, read_flow_schedule
from ldm_plugins.spacings.trailing import trailing as trailing_points

FLOW = FlowSchedule()
LATENT = LatentShape(16, {"height": 64, "width": 96})
PATCHES = 32 * 48
trailing = as_spacing(trailing_points)


def flow_shift(**options: Any) -> Any:
    return with_options(installed().find("spacing", "flow_shift").loaded, options)


def line(patches: int, low: float = 0.5, high: float = 1.15) -> float:
    """Through (256, low) and (4096, high), as Diffusers' pipelines compute their mu."""
    return low + (high - low) / (4096 - 256) * (patches - 256)


CONFIGS: list[dict[str, Any]] = [
    {},
    {"shift": 3.0},
    {"shift": 0.4},
    {"use_dynamic_shifting": True},
    {"use_dynamic_shifting": True, "time_shift_type": "linear"},
    {"use_dynamic_shifting": True, "base_shift": 0.9, "max_shift": 0.2},
    {"shift": 3.0, "shift_terminal": 0.1},
    {"shift": 3.0, "use_karras_sigmas": True},
    {"shift": 2.0, "use_exponential_sigmas": True, "shift_terminal": 0.02},
    {"use_dynamic_shifting": True, "use_beta_sigmas": True},
    {"num_train_timesteps": 500, "shift": 2.0},
]


@pytest.mark.parametrize("steps", [2, 5, 28, 1000])
@pytest.mark.parametrize("base", [None, "trailing"], ids=["own", "flux"])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_flow_scheduler_config_gives_diffusers_sigmas(
    config: dict[str, Any], base: str | None, steps: int
) -> None:
    steps = min(steps, config.get("num_train_timesteps", 1000))
    theirs = FlowMatchEulerDiscreteScheduler(**config)
    sigmas = None if base is None else np.linspace(1.0, 1 / steps, steps)
    mu = line(PATCHES, config.get("base_shift", 0.5), config.get("max_shift", 1.15))
    theirs.set_timesteps(steps, sigmas=sigmas, mu=mu)
    full = dict(theirs.config, _class_name="FlowMatchEulerDiscreteScheduler")
    defaults = read_flow_defaults(full, base=base)
    assert defaults["scheduler"] == "euler"
    options = {k: v for k, v in defaults["spacing"].items() if k != "name"}
    if base is not None:
        options["base"] = trailing
    schedule = read_flow_schedule(full)
    grid = flow_shift(**options)(schedule, steps, latent=LATENT)
    np.testing.assert_allclose([p.sigma for p in grid], theirs.sigmas.numpy(), atol=1e-6)
    np.testing.assert_allclose([p.alpha + p.sigma for p in grid], 1.0, atol=1e-12)
    np.testing.assert_allclose([p.t for p in grid[:-1]], theirs.timesteps.numpy(), atol=1e-3)


def test_one_step_starts_at_pure_noise() -> None:
    """Also with a terminal, where Diffusers divides by zero."""
    for options in ({}, {"shift": 3.0}, {"terminal": 0.1}, {"curve": "beta"}):
        grid = flow_shift(**options)(FLOW, 1)
        assert [(p.alpha, p.sigma, p.t) for p in grid] == [(0, 1, 1000), (1, 0, 0)]


def test_heun_of_diffusers_visits_the_same_points() -> None:
    theirs = FlowMatchHeunDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(10)
    visited = np.unique(theirs.sigmas.numpy())[::-1]
    grid = flow_shift(shift=3.0)(FLOW, 10)
    np.testing.assert_allclose([p.sigma for p in grid], visited, atol=1e-6)


def test_the_noise_ratio_is_multiplied_on_flow() -> None:
    plain = trailing(FLOW, 8)
    grid = flow_shift(shift=2.5, base=trailing)(FLOW, 8)
    ratios = [(there.ratio, here.ratio) for here, there in zip(plain, grid, strict=True)]
    assert ratios[0] == (math.inf, math.inf)
    for found, before in ratios[1:]:
        assert found == pytest.approx(2.5 * before)


@pytest.mark.parametrize("path", ["vp", "ve"])
def test_where_the_noise_has_an_end_the_shift_stays_inside(path: str) -> None:
    schedule = SCHEDULES[path]
    plain = trailing(schedule, 50)
    grid = flow_shift(shift=2.0, base=trailing)(schedule, 50)
    assert grid[0] == plain[0] == schedule.at(schedule.last)
    for here, there in zip(plain[1:-1], grid[1:-1], strict=True):
        assert here.ratio < there.ratio < 2.0 * here.ratio
    assert grid[-2].ratio == pytest.approx(2.0 * plain[-2].ratio, rel=0.01)


def test_a_zero_terminal_snr_is_shifted_as_flow_is() -> None:
    schedule = vp_schedule(rescale_zero_snr=True)
    plain = trailing(schedule, 10)
    grid = flow_shift(shift=2.0, base=trailing)(schedule, 10)
    assert grid[0].alpha == 0
    for here, there in zip(plain[1:-1], grid[1:-1], strict=True):
        assert there.ratio == pytest.approx(2.0 * here.ratio)


@pytest.mark.parametrize("path", SCHEDULES)
def test_a_shift_of_one_changes_nothing(path: str) -> None:
    for here, there in zip(
        trailing(SCHEDULES[path], 20),
        flow_shift(shift=1.0, base=trailing)(SCHEDULES[path], 20),
        strict=True,
    ):
        assert there.sigma == pytest.approx(here.sigma, rel=1e-9, abs=1e-12)
        assert there.t == pytest.approx(here.t, abs=1e-6)


def test_larger_pictures_get_more_noise() -> None:
    """FLUX.1's numbers at 1024x1024: 4096 patches, so the factor is e^1.15."""
    spacing = flow_shift(dynamic=True, base=trailing)
    grids = [
        spacing(FLOW, 4, latent=LatentShape(16, {"height": side, "width": side}))
        for side in (32, 64, 128)
    ]
    for point, plain in zip(grids[2][1:-1], trailing(FLOW, 4)[1:-1], strict=True):
        assert point.ratio == pytest.approx(math.exp(1.15) * plain.ratio)
    for small, middle, large in list(zip(*grids, strict=True))[1:-1]:
        assert small.sigma < middle.sigma < large.sigma


def test_the_base_may_depend_on_the_size_too() -> None:
    inner = flow_shift(dynamic=True, base=trailing)
    twice = flow_shift(shift=2.0, base=inner)
    for once, point in zip(
        inner(FLOW, 6, latent=LATENT), twice(FLOW, 6, latent=LATENT), strict=True
    ):
        assert point.ratio == pytest.approx(2.0 * once.ratio)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"shift": 3.0},
    {"shift": 0.3},
    {"shift": 30.0, "terminal": 0.05},
    {"shift": 2.0, "curve": "karras"},
    {"shift": 2.0, "curve": "exponential"},
    {"dynamic": True, "curve": "beta"},
    {"dynamic": True, "shift_type": "linear"},
]


@pytest.mark.parametrize("base", [None, trailing], ids=["own", "trailing"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_grids_are_well_formed(options: dict[str, Any], base: Any) -> None:
    spacing = flow_shift(**options, base=base)
    check_spacing(spacing, latent=LATENT)


@given(
    steps=st.integers(1, 1000),
    path=st.sampled_from(["zero", *SCHEDULES]),
    shift=st.floats(0.05, 50.0),
    own=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_length_on_every_path_is_well_formed(
    steps: int, path: str, shift: float, own: bool
) -> None:
    schedule = SCHEDULES.get(path) or vp_schedule(rescale_zero_snr=True)
    spacing = flow_shift(shift=shift, base=None if own else trailing)
    points = checked(spacing(schedule, steps), schedule, "flow_shift")
    assert len(points) == steps + 1
    assert points[0] == schedule.at(schedule.last)
    assert points[-1].sigma == 0


def test_a_base_that_ends_with_noise_keeps_its_end() -> None:
    base = trailing.with_options({"final": "sigma_min"})
    grid = flow_shift(shift=2.0, base=base)(FLOW, 5)
    assert grid[-1].ratio == pytest.approx(2.0 * FLOW.at(1).ratio)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": 0.0}, "must be positive, not 0"),
        ({"shift": 2.0, "dynamic": True}, "takes its shift from the size"),
        ({"terminal": 1.0}, "between 0 and 1"),
        ({"dynamic": True, "patch": 0}, "at least 1"),
        ({"dynamic": True, "base_seq_len": 4096}, "must differ"),
        ({"dynamic": True, "shift_type": "linear", "base_shift": -5.0}, "must be positive"),
    ],
)
def test_impossible_shifts_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        flow_shift(**options)(FLOW, 4, latent=LATENT)


def test_a_dynamic_shift_needs_a_size() -> None:
    with pytest.raises(LdmError, match="needs the size"):
        flow_shift(dynamic=True)(FLOW, 4)


@pytest.mark.parametrize(
    "places",
    [{"samples": 5000}, {"height": 64}],
    ids=lambda places: ", ".join(places),
)
def test_a_dynamic_shift_is_for_pictures_and_videos_alone(places: dict[str, int]) -> None:
    latent = LatentShape(16, places)
    with pytest.raises(LdmError, match=f"latents have {', '.join(places)}; set dynamic to false"):
        flow_shift(dynamic=True)(FLOW, 4, latent)
    fixed = flow_shift(shift=3.0)
    assert fixed(FLOW, 4, latent) == fixed(FLOW, 4, LATENT)


def test_the_patches_of_all_frames_of_a_video_are_counted() -> None:
    """As many as a picture has that is so much higher; a patch is one of a frame's sides."""
    video = LatentShape(16, {"frames": 5, "height": 64, "width": 96})
    high = LatentShape(16, {"height": 5 * 64, "width": 96})
    for patch in (1, 2):
        spacing = flow_shift(dynamic=True, patch=patch)
        assert spacing(FLOW, 4, video) == spacing(FLOW, 4, high)


def test_width_before_height_is_the_same_picture() -> None:
    turned = LatentShape(16, {"width": 96, "height": 64})
    spacing = flow_shift(dynamic=True)
    assert spacing(FLOW, 4, turned) == spacing(FLOW, 4, LATENT)


def test_a_scheduler_of_another_path_is_refused() -> None:
    for config in (
        {"_class_name": "DDIMScheduler"},
        {"_class_name": "EulerDiscreteScheduler", "prediction_type": "epsilon"},
    ):
        with pytest.raises(LdmError, match="does not step along a rectified flow"):
            read_flow_schedule(config)
    with pytest.raises(LdmError, match="must be positive, not 0"):
        read_flow_schedule(
            {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 0}
        )
