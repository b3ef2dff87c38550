"""Prediction types: what the network is trained to return gives x0 back, on every path."""

from __future__ import annotations

import pytest
import torch

from ldm_core.conformance import SCHEDULES
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import (
    PREDICTION_TYPES,
    PredictionType,
    from_x0,
    to_x0,
    training_target,
)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("kind", PREDICTION_TYPES)
def test_round_trip(kind: PredictionType, path: str) -> None:
    schedule = SCHEDULES[path]
    x0, noise = torch.randn(2, 3, 4, 4, 4, dtype=torch.float64)
    for share in (0.01, 0.3, 0.7, 0.95):
        point = schedule.at(schedule.first + share * (schedule.last - schedule.first))
        alpha, sigma = (torch.tensor(v, dtype=torch.float64) for v in (point.alpha, point.sigma))
        target = training_target(kind, x0, noise, alpha, sigma)
        x = alpha * x0 + sigma * noise
        torch.testing.assert_close(to_x0(kind, target, x, point), x0)
        torch.testing.assert_close(from_x0(kind, x0, x, point), target)


def test_v_is_the_velocity_along_the_circle() -> None:
    """Salimans & Ho 2022, appendix D: v = dx/dphi with alpha = cos(phi), sigma = sin(phi)."""
    x0, noise = torch.randn(2, 5, dtype=torch.float64)
    phi = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    x = torch.autograd.functional.jacobian(lambda p: p.cos() * x0 + p.sin() * noise, phi)
    target = training_target("v_prediction", x0, noise, phi.cos(), phi.sin())
    torch.testing.assert_close(target.detach(), x)


def test_epsilon_says_nothing_at_pure_noise() -> None:
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="alpha = 0"):
        to_x0("epsilon", x, x, Point(0.0, 1.0, 999.0))


def test_without_noise_x0_says_nothing_of_it() -> None:
    x = torch.ones(1, 2)
    assert from_x0("sample", x, x, Point(1.0, 0.0, 0.0)) is x
    for kind in ("epsilon", "v_prediction", "flow"):
        with pytest.raises(ValueError, match="no noise"):
            from_x0(kind, x, x, Point(1.0, 0.0, 0.0))


def test_a_wrong_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(1, 8\)"):
        to_x0("epsilon", torch.zeros(1, 8), torch.zeros(1, 4), Point(0.6, 0.8, 10.0))


def test_an_unknown_type_is_refused() -> None:
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="v_prediction"):
        to_x0("velocity", x, x, Point(0.6, 0.8, 10.0))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="v_prediction"):
        training_target("velocity", x, x, x, x)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="v_prediction"):
        from_x0("velocity", x, x, Point(0.6, 0.8, 10.0))  # type: ignore[arg-type]
