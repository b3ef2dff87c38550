"""Prediction types: what a network returns, turned into x0 here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum

if TYPE_CHECKING:
    from torch import Tensor

Convert = Callable[["Tensor", "Tensor", Point], "Tensor"]
"""``convert(value, x, point)``, all tensors (batch, ...) of one shape."""


@dataclass(frozen=True)
class PredictionType:
    """What a network returns at x = alpha·x0 + sigma·noise. A family may bring one of its own.

    Attributes:
        name: what messages and manifests call it.
        to_x0: ``to_x0(output, x, point)``, the clean latent that an output stands for.
        from_x0: ``from_x0(x0, x, point)``, the output that stands for a clean latent; its inverse.
        target: ``target(x0, noise, alpha, sigma)``, what the network should learn to return, alpha
            and sigma shaped to broadcast, such as (batch, 1, 1, 1).
        needs_signal: the output says nothing of x0 where alpha is 0.
        needs_noise: no output follows from x0 where sigma is 0.
    """

    name: str
    to_x0: Convert
    from_x0: Convert
    target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    needs_signal: bool = False
    needs_noise: bool = True


UNIT = 1e-12
"""So near to one a scale is one; float32 does not tell them apart."""


def _epsilon_to_x0(output: Tensor, x: Tensor, point: Point) -> Tensor:
    return weighted_sum((1 / point.alpha, x), (-point.sigma / point.alpha, output))


def _v_to_x0(output: Tensor, x: Tensor, point: Point) -> Tensor:
    scale = point.alpha**2 + point.sigma**2
    return weighted_sum((point.alpha / scale, x), (-point.sigma / scale, output))


def _flow_to_x0(output: Tensor, x: Tensor, point: Point) -> Tensor:
    scale = point.alpha + point.sigma
    if abs(scale - 1) < UNIT:
        scale = 1.0
    return weighted_sum((1 / scale, x), (-point.sigma / scale, output))


def _v_from_x0(x0: Tensor, x: Tensor, point: Point) -> Tensor:
    return (point.alpha * x - (point.alpha**2 + point.sigma**2) * x0) / point.sigma


EPSILON = PredictionType(
    "epsilon",
    to_x0=_epsilon_to_x0,
    from_x0=lambda x0, x, point: (x - point.alpha * x0) / point.sigma,
    target=lambda x0, noise, alpha, sigma: noise,
    needs_signal=True,
)
"""The noise (Ho et al. 2020, arXiv:2006.11239, Section 3.2)."""
V_PREDICTION = PredictionType(
    "v_prediction",
    to_x0=_v_to_x0,
    from_x0=_v_from_x0,
    target=lambda x0, noise, alpha, sigma: alpha * noise - sigma * x0,
)
"""alpha·noise - sigma·x0 (Salimans & Ho 2022, arXiv:2202.00512, appendix D)."""
SAMPLE = PredictionType(
    "sample",
    to_x0=lambda output, x, point: output,
    from_x0=lambda x0, x, point: x0,
    target=lambda x0, noise, alpha, sigma: x0,
    needs_noise=False,
)
"""x0 itself."""
FLOW = PredictionType(
    "flow",
    to_x0=_flow_to_x0,
    from_x0=lambda x0, x, point: (x - (point.alpha + point.sigma) * x0) / point.sigma,
    target=lambda x0, noise, alpha, sigma: noise - x0,
)
"""noise - x0 (Liu et al. 2022, arXiv:2209.03003)."""

PREDICTION_TYPES: Mapping[str, PredictionType] = {
    of.name: of for of in (EPSILON, V_PREDICTION, SAMPLE, FLOW)
}
"""Those that need no family of their own, by name."""


def as_prediction_type(prediction_type: PredictionType | str) -> PredictionType:
    """The record of a prediction type that is named, or the record itself.

    Raises:
        ValueError: there is none of this name.
    """
    if isinstance(prediction_type, PredictionType):
        return prediction_type
    if prediction_type not in PREDICTION_TYPES:
        raise ValueError(
            f"no prediction type named '{prediction_type}'; there are {', '.join(PREDICTION_TYPES)}"
        )
    return PREDICTION_TYPES[prediction_type]


def to_x0(prediction_type: PredictionType | str, output: Tensor, x: Tensor, point: Point) -> Tensor:
    """Recover the clean latent from what the network returned.

    Args:
        output, x: network output and noisy latent, both (batch, ...), same shape.
        point: where x lies.
    Raises:
        ValueError: the shapes differ, the type is unknown, or x0 cannot be had at this point
            (epsilon where alpha is 0).
    """
    prediction_type = as_prediction_type(prediction_type)
    if output.shape != x.shape:
        raise ValueError(
            f"the network returned {tuple(output.shape)} for a latent of {tuple(x.shape)}"
        )
    if prediction_type.needs_signal and point.alpha == 0:
        raise ValueError(
            f"a network that predicts {prediction_type.name} says nothing of x0 where the signal "
            "is zero (alpha = 0); start the grid later, or use a v-predicting model"
        )
    return prediction_type.to_x0(output, x, point)


def from_x0(prediction_type: PredictionType | str, x0: Tensor, x: Tensor, point: Point) -> Tensor:
    """What a network would have returned at x for this clean latent; the inverse of `to_x0`.

    Args:
        x0, x: clean and noisy latent, both (batch, ...), same shape.
        point: where x lies.
    Raises:
        ValueError: the type is unknown, or x holds no noise (sigma = 0), of which all types but
            ``sample`` would have to tell.
    """
    prediction_type = as_prediction_type(prediction_type)
    if point.sigma == 0 and prediction_type.needs_noise:
        raise ValueError(f"where there is no noise, {prediction_type.name} does not follow from x0")
    return prediction_type.from_x0(x0, x, point)


def training_target(
    prediction_type: PredictionType | str, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """What the network should return at x = alpha·x0 + sigma·noise, which `to_x0` undoes.

    Args:
        x0, noise: (batch, ...), same shape.
        alpha, sigma: one for each of the batch, shaped to broadcast, such as (batch, 1, 1, 1).
    Raises:
        ValueError: unknown prediction type.
    """
    return as_prediction_type(prediction_type).target(x0, noise, alpha, sigma)
