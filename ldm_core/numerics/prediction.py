"""Prediction types: what a network returns, turned into x0 here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor

PredictionType = Literal["epsilon", "v_prediction", "sample", "flow"]
PREDICTION_TYPES: tuple[PredictionType, ...] = get_args(PredictionType)


def to_x0(prediction_type: PredictionType, output: Tensor, x: Tensor, point: Point) -> Tensor:
    """Recover the clean latent from what the network returned.

    Args:
        prediction_type: ``epsilon`` is the noise; ``v_prediction`` is alpha·noise - sigma·x0
            (Salimans & Ho 2022, arXiv:2202.00512, appendix D); ``sample`` is x0 itself; ``flow``
            is noise - x0 (Liu et al. 2022, arXiv:2209.03003).
        output, x: network output and noisy latent, both (batch, ...), same shape.
        point: where x lies.
    Raises:
        ValueError: the shapes differ, the type is unknown, or x0 cannot be had at this point
            (epsilon where alpha is 0).
    """
    if output.shape != x.shape:
        raise ValueError(
            f"the network returned {tuple(output.shape)} for a latent of {tuple(x.shape)}"
        )
    if prediction_type == "epsilon":
        if point.alpha == 0:
            raise ValueError(
                "an epsilon-predicting network says nothing of x0 where the signal is zero "
                "(alpha = 0); start the grid later, or use a v-predicting model"
            )
        return (x - point.sigma * output) / point.alpha
    if prediction_type == "v_prediction":
        # With alpha² + sigma² = 1 this is alpha·x - sigma·v; the division serves other paths.
        scale = point.alpha**2 + point.sigma**2
        return (point.alpha * x - point.sigma * output) / scale
    if prediction_type == "sample":
        return output
    if prediction_type == "flow":
        return (x - point.sigma * output) / (point.alpha + point.sigma)
    raise ValueError(
        f"no prediction type named '{prediction_type}'; there are {', '.join(PREDICTION_TYPES)}"
    )


def from_x0(prediction_type: PredictionType, x0: Tensor, x: Tensor, point: Point) -> Tensor:
    """What a network would have returned at x for this clean latent; the inverse of `to_x0`.

    Args:
        x0, x: clean and noisy latent, both (batch, ...), same shape.
        point: where x lies.
    Raises:
        ValueError: the type is unknown, or x holds no noise (sigma = 0), of which all types but
            ``sample`` would have to tell.
    """
    if prediction_type == "sample":
        return x0
    if prediction_type not in PREDICTION_TYPES:
        raise ValueError(
            f"no prediction type named '{prediction_type}'; there are {', '.join(PREDICTION_TYPES)}"
        )
    if point.sigma == 0:
        raise ValueError(f"where there is no noise, {prediction_type} does not follow from x0")
    if prediction_type == "epsilon":
        return (x - point.alpha * x0) / point.sigma
    if prediction_type == "v_prediction":
        return (point.alpha * x - (point.alpha**2 + point.sigma**2) * x0) / point.sigma
    return (x - (point.alpha + point.sigma) * x0) / point.sigma


def training_target(
    prediction_type: PredictionType, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """What the network should return at x = alpha·x0 + sigma·noise, which `to_x0` undoes.

    Args:
        x0, noise: (batch, ...), same shape.
        alpha, sigma: one for each of the batch, shaped to broadcast, such as (batch, 1, 1, 1).
    Raises:
        ValueError: unknown prediction type.
    """
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "v_prediction":
        return alpha * noise - sigma * x0
    if prediction_type == "sample":
        return x0
    if prediction_type == "flow":
        return noise - x0
    raise ValueError(
        f"no prediction type named '{prediction_type}'; there are {', '.join(PREDICTION_TYPES)}"
    )
