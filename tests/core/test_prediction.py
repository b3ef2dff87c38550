"""Prediction types: what the network is trained to return gives x0 back, on every path."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from ldm_core.conformance import SCHEDULES, GaussianData, measured_order
from ldm_core.numerics.moves import move
from ldm_core.numerics.noise_schedule import VESchedule
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import (
    FLOW,
    PREDICTION_TYPES,
    PredictionType,
    as_prediction_type,
    from_x0,
    to_x0,
    training_target,
)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("kind", PREDICTION_TYPES)
def test_round_trip(kind: str, path: str) -> None:
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
        to_x0("velocity", x, x, Point(0.6, 0.8, 10.0))
    with pytest.raises(ValueError, match="v_prediction"):
        training_target("velocity", x, x, x, x)
    with pytest.raises(ValueError, match="v_prediction"):
        from_x0("velocity", x, x, Point(0.6, 0.8, 10.0))


# --- a type that a family brings


def preconditioned(sigma_data: float) -> PredictionType:
    """EDM's F (Karras et al. 2022, arXiv:2206.00364, Eq. 7 and Table 1), on any path.

    Of y = x/alpha = x0 + s·noise, x0 = c_skip·y + c_out·F, with s the ratio sigma/alpha,
    c_skip = d²/(s² + d²) and c_out = s·d/sqrt(s² + d²) for d = sigma_data. Multiplied by powers of
    alpha, it is finite where alpha is 0.
    """
    d = sigma_data

    def to_x0(output: Tensor, x: Tensor, point: Point) -> Tensor:
        length = math.hypot(point.sigma, point.alpha * d)
        skip, out = point.alpha * d**2 / length**2, point.sigma * d / length
        return skip * x + out * output

    def from_x0(x0: Tensor, x: Tensor, point: Point) -> Tensor:
        length = math.hypot(point.sigma, point.alpha * d)
        return (x0 - point.alpha * d**2 / length**2 * x) * length / (point.sigma * d)

    def target(x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        length = (sigma**2 + (alpha * d) ** 2).sqrt()
        return (sigma * x0 - alpha * d**2 * noise) / (length * d)

    return PredictionType("edm", to_x0, from_x0, target)


EDM = preconditioned(0.5)
X0, NOISE = torch.randn(
    2, 3, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
)


@pytest.mark.parametrize("path", SCHEDULES)
def test_a_type_of_ones_own_goes_through_the_same_doors(path: str) -> None:
    """What it is trained to return, what stands for x0, and back."""
    schedule = SCHEDULES[path]
    points = [schedule.at(schedule.last * share) for share in (0.05, 0.4, 1.0)]
    column = torch.ones(3, 1, 1, 1, dtype=torch.float64)
    alpha, sigma = (
        column * torch.tensor(values, dtype=torch.float64).reshape(3, 1, 1, 1)
        for values in ([p.alpha for p in points], [p.sigma for p in points])
    )
    targets = training_target(EDM, X0, NOISE, alpha, sigma)  # each of the batch at its own point
    for x0, noise, output, point in zip(X0, NOISE, targets, points, strict=True):
        x = point.alpha * x0 + point.sigma * noise
        torch.testing.assert_close(to_x0(EDM, output, x, point), x0)
        torch.testing.assert_close(from_x0(EDM, x0, x, point), output)


def test_what_edm_is_trained_to_return_is_of_unit_variance_at_every_noise() -> None:
    """The point of the preconditioning (appendix B.6): for data of deviation sigma_data. Flow's
    target is not, which shows that the test can see it."""
    x0, noise = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(1))
    schedule = VESchedule(0.002, 80.0)
    for t in (0.0, 300.0, 600.0, 999.0):
        point = schedule.at(t)
        alpha, sigma = torch.tensor(point.alpha), torch.tensor(point.sigma)
        output = training_target(EDM, 0.5 * x0, noise, alpha, sigma)
        assert float(output.std()) == pytest.approx(1.0, rel=0.01)
    assert float(training_target(FLOW, 0.5 * x0, noise, alpha, sigma).std()) > 1.1


@pytest.mark.parametrize("path", SCHEDULES)
def test_a_perfect_network_of_it_samples_gaussian_data(path: str) -> None:
    """For data of deviation sigma_data about 0 the best F is 0: EDM's network has nothing to
    learn there. For other data, Euler on its answers still converges to the exact end."""
    schedule = SCHEDULES[path]
    centred, point = GaussianData(mean=0.0, std=0.5), schedule.at(schedule.last * 0.6)
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)
    zero = torch.zeros_like(x)
    torch.testing.assert_close(to_x0(EDM, zero, x, point), centred.denoise(x, point))

    def network(x: Tensor, point: Point) -> Tensor:
        """F that minimises the loss, E[target | x], in closed form: noise and x0 given x."""
        data = GaussianData()
        variance = (point.alpha * data.std) ** 2 + point.sigma**2
        rest = x - point.alpha * data.mean
        mean = data.mean + point.alpha * data.std**2 / variance * rest
        noise = point.sigma / variance * rest
        alpha, sigma = (torch.tensor(v, dtype=torch.float64) for v in (point.alpha, point.sigma))
        return training_target(EDM, mean, noise, alpha, sigma)

    def euler(x: Tensor, grid: Any, denoise: Any, noise: Any) -> Tensor:
        for here, there in pairwise(grid):
            x = move(x, to_x0(EDM, network(x, here), x, here), here, there)
        return x

    assert measured_order(euler, schedule) == pytest.approx(1, abs=0.05)


def test_a_record_is_taken_as_it_is_and_a_name_is_looked_up() -> None:
    assert as_prediction_type(EDM) is EDM
    assert as_prediction_type("flow") is FLOW
    with pytest.raises(ValueError, match="no prediction type named 'edm'"):
        as_prediction_type("edm")


def test_a_record_says_where_its_output_says_nothing() -> None:
    start, x = Point(0.0, 1.0, 1000.0), torch.ones(1, 2)
    assert to_x0(EDM, 3 * x, x, start).tolist() == [[1.5, 1.5]]  # c_out is sigma_data there
    blind = PredictionType("blind", EDM.to_x0, EDM.from_x0, EDM.target, needs_signal=True)
    with pytest.raises(ValueError, match="predicts blind says nothing"):
        to_x0(blind, x, x, start)
    with pytest.raises(ValueError, match="no noise, edm does not follow"):
        from_x0(EDM, x, x, Point(1.0, 0.0, 0.0))
