"""No guidance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ldm_core.contracts import Evaluation, Guidance
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


def none() -> Guidance:
    """The network's answer to the prompt as it is: one branch, no negative prompt."""
    return _None()


class _None:
    def branches(self, point: Point) -> tuple[str, ...]:
        return ("positive",)

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        return outputs["positive"]
