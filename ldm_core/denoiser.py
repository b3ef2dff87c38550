"""The denoiser: guidance around the network, then x0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import Condition, Evaluation, Guidance, Model
from ldm_core.point import Point
from ldm_core.prediction import to_x0

if TYPE_CHECKING:
    from torch import Tensor


class Denoiser:
    """``denoise(x, point) -> x0`` of a model under guidance.

    Args:
        conditions: one for each branch that the guidance may name.
    """

    def __init__(
        self, model: Model, guidance: Guidance, conditions: Mapping[str, Condition]
    ) -> None:
        self._model = model
        self._guidance = guidance
        self._conditions = conditions
        self._variance: Tensor | None = None

    def __call__(self, x: Tensor, point: Point) -> Tensor:
        info = self._model.info
        branches = self._guidance.branches(point)
        conditions = {name: self._conditions[name] for name in branches}
        outputs = predict(self._model, x, point, conditions)
        if info.learned_variance:
            halves = {name: output.chunk(2, dim=1) for name, output in outputs.items()}
            outputs = {name: half[0] for name, half in halves.items()}
            self._variance = halves["positive" if "positive" in halves else branches[-1]][1]
        output = self._guidance.combine(outputs, Evaluation(x, point, info.prediction_type))
        return to_x0(info.prediction_type, output, x, point)

    def variance(self) -> Tensor | None:
        """See `ldm_core.contracts.learned_variance`; the positive branch's, as in Diffusers."""
        return self._variance


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
