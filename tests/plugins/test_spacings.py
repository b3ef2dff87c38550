"""Spacings: Diffusers' timesteps, the papers' formulas, and well-formed grids at any length."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import diffusers
import numpy as np
import pytest
from diffusers.schedulers.scheduling_utils import AysSchedules
from hypothesis import given, settings
from hypothesis import strategies as st

from ldm_core.conformance import SCHEDULES, check_spacing
from ldm_core.conformance.spacings import PATHS, PICTURE
from ldm_core.contracts import LatentShape, as_spacing, sees_latent
from ldm_core.contracts.spacing import checked
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import FlowSchedule, NoiseSchedule, VESchedule, vp_schedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.plugins.options import check_options, with_options
from ldm_core.plugins.registry import installed

SCHEDULE = vp_schedule()
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
NAMES = [p.name for p in installed().of_kind("spacing") if p.name != "explicit"]

WHOLE = {"linspace": {"whole_timesteps": True}}
OPEN = {
    "leading": {"open_end": True},
    "linspace": {"open_end": True, "whole_timesteps": True},
}
PLACED: dict[type, dict[str, dict[str, Any]]] = {
    diffusers.DDIMScheduler: WHOLE,
    diffusers.DDPMScheduler: WHOLE,
    diffusers.PNDMScheduler: WHOLE,
    diffusers.EulerDiscreteScheduler: {},
    diffusers.EulerAncestralDiscreteScheduler: {},
    diffusers.LMSDiscreteScheduler: {},
    diffusers.HeunDiscreteScheduler: {},
    diffusers.KDPM2DiscreteScheduler: {},
    diffusers.DPMSolverMultistepScheduler: OPEN,
    diffusers.DPMSolverSinglestepScheduler: OPEN,
    diffusers.UniPCMultistepScheduler: OPEN,
    diffusers.DEISMultistepScheduler: OPEN,
    diffusers.SASolverScheduler: OPEN,
}
"""Diffusers' classes, and the options by which our spacings place their timesteps."""


def spacing(name: str, **options: Any) -> Any:
    """A spacing with options, checked as those of a recipe are."""
    plugin = installed().find("spacing", name)
    return with_options(plugin.loaded, check_options(plugin.options, options, f"'{name}'", ""))


def diffusers_timesteps(cls: type, steps: int, **config: Any) -> list[float]:
    """The timesteps that a class visits, without those it goes to between them."""
    pndm = cls is diffusers.PNDMScheduler
    theirs = cls(**SD, **config, **({"skip_prk_steps": True} if pndm else {}))
    theirs.set_timesteps(steps)
    if pndm:
        return [float(t) for t in theirs._timesteps[::-1]]
    times: list[float] = theirs.timesteps.tolist()
    if cls is diffusers.KDPM2DiscreteScheduler:
        return times[:1] + times[2::2]
    return times[:1] + times[1::2] if cls is diffusers.HeunDiscreteScheduler else times


def diffusers_sigmas(cls: type, steps: int, **config: Any) -> list[float]:
    """The noise ratios that a class visits, each once: it may stay in place at the end."""
    theirs = cls(**SD, **config)
    theirs.set_timesteps(steps)
    sigmas: list[float] = theirs.sigmas.tolist()
    stays = [math.isclose(a, b, rel_tol=1e-5) for a, b in pairwise(sigmas)]
    return [sigmas[0], *(s for s, stay in zip(sigmas[1:], stays, strict=True) if not stay)]


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 30, 50, 999])
@pytest.mark.parametrize("name", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("cls", PLACED, ids=lambda cls: cls.__name__)
def test_timesteps_are_those_of_diffusers(cls: type, name: str, steps: int) -> None:
    config = {"timestep_spacing": name}
    if cls is diffusers.DPMSolverSinglestepScheduler:
        name, config = "linspace", {}  # the class knows no other
    grid = spacing(name, **PLACED[cls].get(name, {}))(SCHEDULE, steps)
    expected = diffusers_timesteps(cls, steps, **config)
    if steps == 1 and name == "linspace" and PLACED[cls] is not OPEN:
        expected = [999.0]  # theirs asks for a picture at timestep 0, where x has no noise
    np.testing.assert_allclose([p.t for p in grid[:-1]], expected, rtol=2e-7)


def test_an_open_end_by_hand() -> None:
    """Five steps of a thousand, as Diffusers' DPM-Solver places them."""
    leading = spacing("leading", open_end=True)(SCHEDULE, 5)
    assert [p.t for p in leading[:-1]] == [830, 664, 498, 332, 166]
    linspace = spacing("linspace", open_end=True, whole_timesteps=True)(SCHEDULE, 5)
    assert [p.t for p in linspace[:-1]] == [999, 799, 599, 400, 200]


@pytest.mark.parametrize("steps", [2, 5, 20, 50])
def test_linspace_is_that_of_diffusers(steps: int) -> None:
    ratios = [p.ratio for p in spacing("linspace")(SCHEDULE, steps)]
    # Between whole timesteps theirs interpolates sigma and ours its logarithm.
    theirs = diffusers_sigmas(diffusers.EulerDiscreteScheduler, steps)
    np.testing.assert_allclose(ratios, theirs, rtol=2e-4)


@pytest.mark.parametrize("steps", [2, 5, 20, 30])
@pytest.mark.parametrize(
    ("cls", "placed", "name", "options"),
    [
        ("EulerDiscreteScheduler", "leading", "leading", {}),
        ("EulerDiscreteScheduler", "trailing", "trailing", {}),
        ("EulerDiscreteScheduler", "linspace", "linspace", {}),
        ("EulerDiscreteScheduler", "karras", "karras", {}),
        ("DPMSolverMultistepScheduler", "leading", "leading", OPEN["leading"]),
        ("DPMSolverMultistepScheduler", "linspace", "linspace", OPEN["linspace"]),
        ("DPMSolverMultistepScheduler", "trailing", "trailing", {}),
        ("DPMSolverMultistepScheduler", "karras", "karras", {}),
        ("DPMSolverMultistepScheduler", "exponential", "exponential", {}),
        ("DPMSolverMultistepScheduler", "lu", "log_snr", {}),
        ("DPMSolverMultistepScheduler", "beta", "beta", {"over": "sigma"}),
        ("DPMSolverSinglestepScheduler", "linspace", "linspace", OPEN["linspace"]),
        ("DPMSolverSinglestepScheduler", "karras", "karras", {}),
        ("UniPCMultistepScheduler", "linspace", "linspace", OPEN["linspace"]),
        ("UniPCMultistepScheduler", "karras", "karras", {}),
        ("DEISMultistepScheduler", "leading", "leading", OPEN["leading"]),
        ("DEISMultistepScheduler", "karras", "karras", {}),
        ("SASolverScheduler", "linspace", "linspace", OPEN["linspace"]),
        ("SASolverScheduler", "exponential", "exponential", {}),
    ],
)
def test_the_end_at_the_least_noise_is_that_of_diffusers(
    cls: str, placed: str, name: str, options: dict[str, Any], steps: int
) -> None:
    """Also where theirs ends by a step that stays in place, which ours leaves out."""
    config: dict[str, Any] = {"final_sigmas_type": "sigma_min"}
    if cls in ("DEISMultistepScheduler", "SASolverScheduler"):
        config = {}  # these have no other end
    if placed in ("leading", "linspace", "trailing"):
        config |= {} if "Singlestep" in cls else {"timestep_spacing": placed}
    else:
        config |= {"use_lu_lambdas" if placed == "lu" else f"use_{placed}_sigmas": True}
    theirs = diffusers_sigmas(getattr(diffusers, cls), steps, **config)
    grid = checked(spacing(name, final="sigma_min", **options)(SCHEDULE, steps), SCHEDULE, name)
    assert grid[-1] == SCHEDULE.at(0)
    np.testing.assert_allclose([p.ratio for p in grid], theirs, rtol=2e-4)


@pytest.mark.parametrize("name", ["linspace", "trailing", "karras", "log_snr", "beta"])
def test_one_step_to_the_least_noise(name: str) -> None:
    points = spacing(name, final="sigma_min")(SCHEDULE, 1)
    assert points == [SCHEDULE.at(999), SCHEDULE.at(0)]


def test_one_step_that_would_stay_in_place_is_refused() -> None:
    with pytest.raises(LdmError, match="does not fall"):
        checked(spacing("leading", final="sigma_min")(SCHEDULE, 1), SCHEDULE, "leading")


def test_ddim_without_alpha_one_ends_at_the_least_noise() -> None:
    theirs = diffusers.DDIMScheduler(**SD, set_alpha_to_one=False, steps_offset=1)
    least = spacing("leading", steps_offset=1, final="sigma_min")(SCHEDULE, 20)[-1]
    assert least.alpha**2 == pytest.approx(float(theirs.final_alpha_cumprod), rel=1e-6)


@pytest.mark.parametrize("steps", [2, 5, 20, 30])
@pytest.mark.parametrize(
    ("cls", "switch", "name"),
    [
        ("DPMSolverMultistepScheduler", "use_karras_sigmas", "karras"),
        ("DPMSolverMultistepScheduler", "use_lu_lambdas", "log_snr"),
        ("DPMSolverSinglestepScheduler", "use_karras_sigmas", "karras"),
        ("UniPCMultistepScheduler", "use_karras_sigmas", "karras"),
        ("DEISMultistepScheduler", "use_karras_sigmas", "karras"),
        ("SASolverScheduler", "use_karras_sigmas", "karras"),
        ("KDPM2DiscreteScheduler", "use_karras_sigmas", "karras"),
    ],
)
def test_whole_timesteps_are_those_of_diffusers(
    cls: str, switch: str, name: str, steps: int
) -> None:
    """The network is told whole timesteps, the noise stays exact."""
    grid = spacing(name, whole_timesteps=True)(SCHEDULE, steps)
    assert [p.t for p in grid[:-1]] == diffusers_timesteps(
        getattr(diffusers, cls), steps, **{switch: True}
    )
    exact = spacing(name)(SCHEDULE, steps)
    assert [(p.alpha, p.sigma) for p in grid] == [(p.alpha, p.sigma) for p in exact]
    assert [p.t for p in grid] == [round(p.t) for p in exact]


def test_karras_by_the_formula() -> None:
    """Karras et al. 2022 (arXiv:2206.00364), Eq. 5, with its sigma_min, sigma_max and rho."""
    grid = spacing("karras", sigma_min=0.03, sigma_max=10.0, rho=7.0)(SCHEDULE, 5)
    i = np.arange(5)
    sigmas = (10 ** (1 / 7) + i / 4 * (0.03 ** (1 / 7) - 10 ** (1 / 7))) ** 7
    np.testing.assert_allclose([p.ratio for p in grid], [*sigmas, 0.0], rtol=1e-9)


@pytest.mark.parametrize("steps", [2, 5, 20, 50, 200])
@pytest.mark.parametrize(
    ("cls", "config", "name", "options"),
    [
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True}, "karras", {}),
        ("EulerDiscreteScheduler", {"use_exponential_sigmas": True}, "exponential", {}),
        ("EulerDiscreteScheduler", {"use_beta_sigmas": True}, "beta", {"over": "sigma"}),
        ("HeunDiscreteScheduler", {"use_beta_sigmas": True}, "beta", {"over": "sigma"}),
        ("DPMSolverMultistepScheduler", {"use_lu_lambdas": True}, "log_snr", {}),
        ("DPMSolverMultistepScheduler", {"use_lu_lambdas": True}, "exponential", {}),
    ],
)
def test_noise_ratios_are_those_of_diffusers(
    cls: str, config: dict[str, Any], name: str, options: dict[str, Any], steps: int
) -> None:
    ratios = [point.ratio for point in spacing(name, **options)(SCHEDULE, steps)]
    theirs = diffusers_sigmas(getattr(diffusers, cls), steps, **config)
    np.testing.assert_allclose(ratios, theirs, rtol=5e-5)


@pytest.mark.parametrize("steps", [2, 5, 20, 200])
def test_beta_over_the_timesteps_of_flow_is_that_of_diffusers(steps: int) -> None:
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(use_beta_sigmas=True)
    theirs.set_timesteps(steps)
    points = spacing("beta")(SCHEDULES["flow"], steps)
    np.testing.assert_allclose([p.sigma for p in points], theirs.sigmas.numpy(), atol=2e-7)
    np.testing.assert_allclose([p.t for p in points[:-1]], theirs.timesteps.numpy(), atol=2e-4)


def test_beta_places_timesteps_at_even_quantiles() -> None:
    """The quantile function of Beta(1/2, 1/2) is sin²(pi·u/2)."""
    times = [p.t for p in spacing("beta", alpha=0.5, beta=0.5)(SCHEDULE, 7)[:-1]]
    u = 1 - np.arange(7) / 6
    np.testing.assert_allclose(times, 999 * np.sin(np.pi * u / 2) ** 2, atol=1e-9)
    part = spacing("beta", sigma_min=0.1, sigma_max=2.0)(SCHEDULE, 7)
    assert [part[0].ratio, part[-2].ratio] == pytest.approx([2.0, 0.1])


def test_cosine_is_even_in_the_angle() -> None:
    """On flow, with alpha = 1 - s: tan of even angles from pi/2 down to 0."""
    points = spacing("cosine")(SCHEDULES["flow"], 6)
    assert points[0].alpha == 0
    angles = [math.pi / 2 * (1 - i / 6) for i in range(1, 7)]
    assert [p.ratio for p in points[1:]] == pytest.approx([math.tan(a) for a in angles])


def test_cosine_stays_within_the_trained_noise() -> None:
    points = spacing("cosine")(SCHEDULE, 400)
    assert points[0] == SCHEDULE.at(999)
    assert points[-2] == SCHEDULE.at(0)
    angles = [math.atan(p.ratio) for p in points[:-1]]
    np.testing.assert_allclose(np.diff(angles), np.diff(angles)[0], rtol=1e-9)


@pytest.mark.parametrize("steps", [2, 10, 20])
def test_quadratic_is_that_of_the_paper_code(steps: int) -> None:
    """The code of DDIM takes the squares of even numbers up to the root of 0.8 T, floored."""
    expected = [int(s) for s in np.linspace(0, np.sqrt(1000 * 0.8), steps) ** 2]
    times = [p.t for p in spacing("quadratic", reach=0.8)(SCHEDULE, steps)[:-1]]
    assert times[::-1] == expected


def test_quadratic_never_repeats_a_timestep() -> None:
    times = [p.t for p in spacing("quadratic")(SCHEDULE, 200)[:-1]]
    assert times[-7:] == [6, 5, 4, 3, 2, 1, 0]
    assert times[0] == 999


@pytest.mark.parametrize(
    ("table", "published"),
    [("sd15", "StableDiffusionTimesteps"), ("sdxl", "StableDiffusionXLTimesteps")],
)
def test_align_your_steps_visits_the_published_timesteps(table: str, published: str) -> None:
    points = spacing("align_your_steps", table=table)(SCHEDULE, 10)
    assert [p.t for p in points[:-1]] == pytest.approx(AysSchedules[published], abs=1e-9)


def test_align_your_steps_visits_the_published_noise_levels() -> None:
    schedule = VESchedule(0.002, 700.0)
    ratios = [p.ratio for p in spacing("align_your_steps", table="svd")(schedule, 10)]
    assert ratios == pytest.approx(AysSchedules["StableDiffusionVideoSigmas"])


def test_align_your_steps_interpolates_the_logarithm() -> None:
    ten = spacing("align_your_steps", final="sigma_min")(SCHEDULE, 10)
    assert spacing("align_your_steps")(SCHEDULE, 5)[:-1] == pytest.approx(ten[:-1:2])
    twenty = spacing("align_your_steps", final="sigma_min")(SCHEDULE, 20)
    for i in range(10):
        middle = math.sqrt(ten[i].ratio * ten[i + 1].ratio)
        assert twenty[2 * i + 1].ratio == pytest.approx(middle)
    assert twenty[-1] == SCHEDULE.at(0)


def test_log_snr_is_even_or_crowds_by_its_power() -> None:
    high, low = (math.log(SCHEDULE.at(t).ratio) for t in (999, 0))
    for power in (1.0, 2.0, 0.5):
        points = spacing("log_snr", power=power)(SCHEDULE, 9)
        share = [(math.log(p.ratio) - low) / (high - low) for p in points[:-1]]
        assert share == pytest.approx([(1 - i / 8) ** power for i in range(9)], abs=1e-12)


def test_explicit_visits_what_is_listed() -> None:
    grid = spacing("explicit", timesteps=[999.0, 500.0, 20.0])(SCHEDULE, 3)
    assert [point.t for point in grid] == [999.0, 500.0, 20.0, 0.0]
    grid = spacing("explicit", sigmas=[10.0, 1.0])(SCHEDULE, 2)
    assert [point.ratio for point in grid] == pytest.approx([10.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("options", "steps", "message"),
    [
        ({}, 3, "either timesteps or sigmas"),
        ({"timesteps": [1.0], "sigmas": [1.0]}, 1, "either timesteps or sigmas"),
        ({"timesteps": [999.0, 5.0]}, 3, "2 points for num_inference_steps of 3"),
        ({"timesteps": [5000.0]}, 1, "outside the trained 0 to 999"),
        ({"sigmas": [1.0, 0.0]}, 2, "must be positive"),
    ],
)
def test_explicit_refuses_what_does_not_fit(
    options: dict[str, Any], steps: int, message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        spacing("explicit", **options)(SCHEDULE, steps)


@pytest.mark.parametrize("name", NAMES)
def test_grids_are_well_formed(name: str) -> None:
    check_spacing(spacing(name))


def crowded(schedule: NoiseSchedule, steps: int, latent: LatentShape | None) -> list[Point]:
    """Crowds at the noisy end the more, the larger the picture; of other axes it knows nothing."""
    assert latent is not None
    power = 1 / math.log(latent.places["height"] * latent.places["width"])
    share = [(i / steps) ** power for i in range(steps, 0, -1)]
    length = schedule.last - schedule.first
    return [*(schedule.at(schedule.first + s * length) for s in share), CLEAN]


def test_the_kit_finds_an_axis_that_is_passed_over() -> None:
    with pytest.raises(AssertionError, match="passes over an axis"):
        check_spacing(sees_latent(crowded), steps=[3])

    def careful(schedule: NoiseSchedule, steps: int, latent: LatentShape | None) -> list[Point]:
        if latent is not None and {*latent.places} != {"height", "width"}:
            raise LdmError("this spacing is for pictures.")
        return crowded(schedule, steps, latent)

    check_spacing(sees_latent(careful), steps=[3])


def test_the_kit_finds_a_malformed_grid() -> None:
    for points, message in (
        ([SCHEDULE.at(9), CLEAN], "has 2 points, not 4"),
        ([SCHEDULE.at(9), SCHEDULE.at(9), CLEAN], "does not fall"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_spacing(lambda schedule, steps, points=points: points, steps=[3])


@pytest.mark.parametrize("name", NAMES)
@given(steps=st.integers(1, 1000), path=st.sampled_from(sorted(PATHS)))
@settings(max_examples=40, deadline=None)
def test_every_length_on_every_schedule_is_well_formed(name: str, steps: int, path: str) -> None:
    schedule = PATHS[path]
    chosen = as_spacing(spacing(name))
    if name == "lcm":
        steps = 1 + steps % 50  # there are no more timesteps in a distillation
    points = checked(chosen.points(schedule, steps, PICTURE), schedule, name)
    assert len(points) == steps + 1
    assert points[-1].sigma == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("karras", {"sigma_min": 5.0, "sigma_max": 2.0}, "sigma_min < sigma_max"),
        ("karras", {"sigma_min": 0.0}, "should be float"),
        ("karras", {"rho": -1.0}, "should be float, not -1.0"),
        ("log_snr", {"power": 0.0}, "should be float, not 0.0"),
        ("beta", {"alpha": 0.0}, "should be float, not 0.0"),
        ("beta", {"sigma_max": 0.001}, "sigma_min below sigma_max"),
        ("quadratic", {"reach": 0.0}, "should be float, not 0.0"),
        ("quadratic", {"reach": 0.01}, "leaves 11 timesteps"),
        ("align_your_steps", {"table": "svd"}, "choose another table"),
        ("align_your_steps", {"table": "flux"}, "not 'flux'"),
        ("leading", {"steps_offset": 500}, "the timestep 1450, outside the trained 0 to 999"),
        ("leading", {"steps_offset": -1}, "the timestep -1, outside the trained 0 to 999"),
    ],
)
def test_impossible_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        spacing(name, **options)(SCHEDULE, 20)


@pytest.mark.parametrize("name", ["leading", "linspace", "trailing", "quadratic"])
def test_more_steps_than_timesteps_are_refused(name: str) -> None:
    with pytest.raises(LdmError, match="is 1001, but the model was trained on 1000"):
        spacing(name)(SCHEDULE, 1001)
    if name in OPEN:
        with pytest.raises(LdmError, match="is 1000, and open_end places one more"):
            spacing(name, open_end=True)(SCHEDULE, 1000)


def test_a_least_alpha_is_refused_off_its_path() -> None:
    spacing = with_options(installed().find("spacing", "linspace").loaded, {"least_alpha": 0.005})
    with pytest.raises(LdmError, match="variance-preserving"):
        spacing(FlowSchedule(), 4)
