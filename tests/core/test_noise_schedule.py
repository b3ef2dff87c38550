"""Noise schedules against Diffusers' tables and the papers' closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from diffusers import DDIMScheduler, DDPMScheduler, HeunDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from ldm_core.conformance import SCHEDULES
from ldm_core.numerics.noise_schedule import FlowSchedule, VESchedule, VPSchedule, vp_schedule


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_tables_are_those_of_diffusers(name: str, rescale: bool) -> None:
    theirs = DDIMScheduler(
        beta_schedule=name, beta_start=0.0009, beta_end=0.015, rescale_betas_zero_snr=rescale
    )
    ours = vp_schedule(name, 0.0009, 0.015, rescale_zero_snr=rescale)
    # Theirs is a float32 product of a thousand factors.
    np.testing.assert_allclose(ours.alphas**2, theirs.alphas_cumprod.numpy(), atol=2e-6)
    np.testing.assert_allclose(ours.alphas**2 + ours.sigmas**2, 1.0, atol=1e-12)


@pytest.mark.parametrize(
    ("cls", "name"), [(DDPMScheduler, "sigmoid"), (HeunDiscreteScheduler, "exp")]
)
@pytest.mark.parametrize("count", [1000, 1100])
def test_betas_that_one_class_alone_knows_are_its_own(cls: Any, name: str, count: int) -> None:
    settings = {"beta_start": 0.0001, "beta_end": 0.02, "num_train_timesteps": count}
    ours = vp_schedule(name, *settings.values())
    theirs = cls(beta_schedule=name, **settings).betas.double().numpy()
    np.testing.assert_allclose(ours.betas, theirs, rtol=2e-6)


def test_explicit_betas_by_hand() -> None:
    schedule = VPSchedule([0.1, 0.2, 0.5])
    assert schedule.at(2).alpha ** 2 == pytest.approx(0.9 * 0.8 * 0.5)
    assert schedule.at(0).sigma ** 2 == pytest.approx(0.1)


def test_zero_terminal_snr_ends_in_pure_noise() -> None:
    schedule = vp_schedule(rescale_zero_snr=True)
    end = schedule.at(schedule.last)
    assert (end.alpha, end.sigma) == (0.0, 1.0)
    assert end.half_log_snr == -math.inf
    assert schedule.at_ratio(math.inf) == end


def test_flow_is_a_straight_line() -> None:
    point = FlowSchedule().at(250)
    assert (point.alpha, point.sigma, point.t) == (0.75, 0.25, 250)


def test_ve_is_geometric() -> None:
    schedule = VESchedule(0.01, 100.0, num_train_timesteps=3)
    assert [schedule.at(t).sigma for t in (0, 1, 2)] == pytest.approx([0.01, 1.0, 100.0])


@pytest.mark.parametrize("name", SCHEDULES)
@given(share=st.floats(0.0, 1.0))
def test_at_and_at_ratio_are_inverse(name: str, share: float) -> None:
    schedule = SCHEDULES[name]
    point = schedule.at(schedule.first + share * (schedule.last - schedule.first))
    again = schedule.at_ratio(point.ratio)
    assert again.alpha == pytest.approx(point.alpha, abs=1e-9)
    assert again.sigma == pytest.approx(point.sigma, rel=1e-9)
    assert again.t == pytest.approx(point.t, abs=1e-6)


@given(low=st.floats(0.0, 999.0), high=st.floats(0.0, 999.0))
def test_noise_grows_between_whole_timesteps_too(low: float, high: float) -> None:
    schedule = vp_schedule("squaredcos_cap_v2", rescale_zero_snr=True)
    low, high = sorted((low, high))
    assert schedule.at(low).ratio <= schedule.at(high).ratio


@pytest.mark.parametrize(
    ("betas", "message"),
    [([0.1], "at least 2"), ([0.1, 1.5], "every beta"), ([0.1, 0.0], "every beta")],
)
def test_bad_betas_are_refused(betas: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VPSchedule(betas)


def test_an_unknown_schedule_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="scaled_linear"):
        vp_schedule("cosine")
