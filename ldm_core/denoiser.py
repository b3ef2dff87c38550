"""The denoiser: guidance around the network, then x0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import Condition, Denoise, Evaluation, Guidance, Model
from ldm_core.point import Point
from ldm_core.prediction import to_x0

if TYPE_CHECKING:
    from torch import Tensor


def make_denoiser(model: Model, guidance: Guidance, conditions: Mapping[str, Condition]) -> Denoise:
    """``denoise(x, point) -> x0`` of a model under guidance.

    Args:
        conditions: one for each branch that the guidance may name.
    """
    prediction_type = model.info.prediction_type

    def denoise(x: Tensor, point: Point) -> Tensor:
        branches = guidance.branches(point)
        outputs = predict(model, x, point, {name: conditions[name] for name in branches})
        output = guidance.combine(outputs, Evaluation(x, point, prediction_type))
        return to_x0(prediction_type, output, x, point)

    return denoise


def predict(
    model: Model, x: Tensor, point: Point, conditions: Mapping[str, Condition]
) -> dict[str, Tensor]:
    """The network's answer for each branch, all in one batch.

    Args:
        x: (batch, ...); each condition's tensors have the same batch.
    """
    import torch

    branches: Sequence[str] = list(conditions)
    keys = conditions[branches[0]].keys()
    joined = {key: torch.cat([conditions[name][key] for name in branches]) for key in keys}
    stacked = x if len(branches) == 1 else torch.cat([x] * len(branches))
    outputs = model.network(stacked, point, joined)
    return dict(zip(branches, outputs.chunk(len(branches)), strict=True))
