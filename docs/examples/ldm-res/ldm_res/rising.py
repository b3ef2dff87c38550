"""A guidance: weak at first, strong at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_core.contracts import Bound, Evaluation, Guidance, Run
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor


def rising(*, scale: float = 6.0) -> Guidance:
    """Classifier-free guidance whose scale rises linearly in time (Wang et al. 2024,
    arXiv:2404.13040, Section 4).

    Args:
        scale: at the clean end; it begins at 1, which is no guidance.
    """
    return Rising(scale)


@dataclass(frozen=True)
class Rising(Guidance):
    """The scale is 1 at the noise schedule's last timestep, and `scale` at timestep 0."""

    scale: float

    def branches(self, point: Point) -> tuple[str, ...]:
        return ("negative", "positive")

    def bind(self, run: Run) -> Bound:
        last = run.grid.schedule.last

        def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
            scale = self.scale + (1 - self.scale) * at.point.t / last
            return outputs["negative"] + scale * (outputs["positive"] - outputs["negative"])

        return Bound(self.branches, combine)
