"""CFG++."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Bound, Evaluation, Grid, Guidance, Run
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import intervals_behind
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import lerp

if TYPE_CHECKING:
    from torch import Tensor


def cfg_pp(*, scale: float = 0.6) -> Guidance:
    """CFG++ (Chung et al. 2024, arXiv:2406.08070, Algorithm 2): guided x0, unconditional noise.

    The x0 that is aimed at lies between the negative (0) and the positive one (1), and is noised
    again with the noise that the negative branch sees. A scheduler is told of x0 alone; so this is
    classifier-free guidance of varying strength, scale / (1 - r_next/r), r being sigma/alpha here
    and at the grid's next point. With it a first-order step lands where the paper's does: exactly
    so with ``ddim`` (eta 0) and ``euler``, on every path. Other schedulers are guided by the same
    strength, but do not renoise as the paper does.

    Args:
        scale: lambda in the paper, above 0 and at most 1. The paper compares 0.2, 0.4, 0.6, 0.8 and
            1 with classifier-free guidance of 2, 5, 7.5, 9 and 12.5.
    """
    if not 0 < scale <= 1:
        raise LdmError(
            f"the scale of cfg_pp lies above 0 and is at most 1, unlike {scale:g}; 0.6 is about "
            "as strong as 7.5 is for classifier_free."
        )
    return CFGPlusPlus(scale)


@dataclass(frozen=True)
class CFGPlusPlus(Guidance):
    scale: float

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        return None

    @property
    def estimates_x0(self) -> bool:
        return False

    def branches(self, point: Point) -> tuple[str, ...]:
        return ("negative", "positive")

    def bind(self, run: Run) -> Bound:
        def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
            strength = self.strength(at.point, run.grid)
            return lerp(outputs["negative"], outputs["positive"], strength)

        return Bound(self.branches, combine)

    def strength(self, point: Point, grid: Grid) -> float:
        """The scale of classifier-free guidance at a point.

        Everywhere within an interval of the grid it is that of the interval's start: it would
        grow without bound for a scheduler that asks shortly before the next point.
        """
        index = min(intervals_behind(grid, point), len(grid) - 2)
        return self.scale / (1 - grid[index + 1].ratio / grid[index].ratio)
