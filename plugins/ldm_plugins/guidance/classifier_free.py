"""Classifier-free guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_core.contracts import Evaluation, Guidance
from ldm_core.errors import LdmError
from ldm_core.point import Point

if TYPE_CHECKING:
    from torch import Tensor


def classifier_free(*, scale: float = 7.5) -> Guidance:
    """Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, Eq. 6).

    The answer is negative + scale·(positive - negative), both computed in one batch; the paper's
    w is scale - 1. At scale 1 the negative branch has no weight and is not computed.

    Args:
        scale: strength; 1 is none.
    """
    if scale < 0:
        raise LdmError(f"the scale of classifier_free must not be negative, as {scale:g} is.")
    return ClassifierFree(scale)


@dataclass(frozen=True)
class ClassifierFree:
    scale: float

    def branches(self, point: Point) -> tuple[str, ...]:
        return ("positive",) if self.scale == 1 else ("negative", "positive")

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        positive = outputs["positive"]
        if self.scale == 1:
            return positive
        negative = outputs["negative"]
        return negative + self.scale * (positive - negative)
