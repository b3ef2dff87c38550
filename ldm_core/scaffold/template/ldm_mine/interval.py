"""A guidance: it combines the network's answers under several conditions into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_core.contracts import Evaluation, Guidance
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


def interval(*, scale: float = 5.0, low: float = 0.3, high: float = 5.0) -> Guidance:
    """Classifier-free guidance on an interval (Kynkäänniemi et al. 2024, arXiv:2404.07724).

    Args:
        scale: strength within the interval; 1 is no guidance.
        low: least sigma/alpha at which it acts.
        high: greatest sigma/alpha at which it acts.
    """
    return Interval(scale, low, high)


@dataclass(frozen=True)
class Interval(Guidance):
    """Guidance by a scale within an interval of sigma/alpha, none outside."""

    scale: float
    low: float
    high: float

    def branches(self, point: Point) -> tuple[str, ...]:
        inside = self.low < point.ratio <= self.high
        return ("negative", "positive") if inside else ("positive",)

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        positive = outputs["positive"]
        if "negative" not in outputs:
            return positive
        negative = outputs["negative"]
        return negative + self.scale * (positive - negative)
