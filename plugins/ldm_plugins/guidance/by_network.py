"""A guidance scale for each of a model's networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Evaluation, Guidance, ModelInfo
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_plugins.guidance.classifier_free import ClassifierFree, Share, at_least_one

if TYPE_CHECKING:
    from torch import Tensor

NAME = "by_network"


def by_network(
    *, scale: float = 5.0, low_noise_scale: float | None = None, rescale: Share = 0.0
) -> Guidance:
    """Classifier-free guidance with two scales, for models of which one network answers at high
    noise and another at low noise (Wan Team 2025, arXiv:2503.20314, in version 2.2).

    Args:
        scale: strength where the network for high noise answers; 1 is none, and so is less.
        low_noise_scale: strength where the other one does; the same where not given.
        rescale: as of `classifier_free`, for both.
    """
    high = at_least_one(NAME, scale)
    low = (
        high if low_noise_scale is None else at_least_one(NAME, low_noise_scale, "low_noise_scale")
    )
    return ByNetwork(ClassifierFree(high, rescale=rescale), ClassifierFree(low, rescale=rescale))


@dataclass(frozen=True)
class ByNetwork(Guidance):
    """
    Attributes:
        high, low: what guides where the network for high and for low noise answers.
        boundary: the timestep below which the second one does, once the model is known.
    """

    high: ClassifierFree
    low: ClassifierFree
    boundary: float = 0.0

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        return {"scale": 1.0, "low_noise_scale": 1.0}

    def fit(self, info: ModelInfo) -> Guidance:
        if info.boundary is None:
            raise LdmError(
                f"'{NAME}' is for models of two networks, and in '{info.source}' (family "
                f"{info.family}) one answers everywhere.",
                "'classifier_free' has one scale.",
            )
        self.high.fit(info)
        return replace(self, boundary=info.boundary)

    def at(self, point: Point) -> ClassifierFree:
        """What guides at a point."""
        return self.low if point.t < self.boundary else self.high

    def branches(self, point: Point) -> tuple[str, ...]:
        return self.at(point).branches(point)

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        return self.at(at.point).combine(outputs, at)
