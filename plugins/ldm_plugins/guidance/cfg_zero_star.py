"""CFG-Zero*."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.contracts import Bound, Evaluation, Grid, Guidance, ModelInfo, Run
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import intervals_behind
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import lerp
from ldm_plugins.guidance.classifier_free import ClassifierFree, NotNegative, Share, checked
from ldm_plugins.guidance.shared.one_medium import check_one_medium

if TYPE_CHECKING:
    from torch import Tensor


def cfg_zero_star(
    *,
    scale: float = 5.0,
    zero_init_steps: Annotated[int, Field(ge=0)] = 1,
    rescale: Share = 0.0,
    low: NotNegative = 0.0,
    high: NotNegative | None = None,
) -> Guidance:
    """CFG-Zero* (Fan et al. 2025, arXiv:2503.18886): classifier-free guidance of flow models with
    an optimised scale, and no motion in the first steps.

    The negative answer is first multiplied by s* = <positive, negative> / |negative|², which
    brings it as close to the positive one as a factor can, in each image. In the first steps,
    where an estimate may lead further astray than none, x stays as it is and the network is
    not asked, unless its variance is needed. The paper is of flow models; on others the factor
    is put on whatever the network predicts. Where a picture to start from leaves out the noisiest
    part of the way, zero_init_steps should be 0.

    Args:
        scale: strength; 1 is none, and so is less.
        zero_init_steps: how many intervals of the grid x rests for.
        rescale: phi of Lin et al. 2023 (arXiv:2305.08891, Section 3.4), from 0 to 1: how far the
            answer is brought back to the positive one's standard deviation.
        low, high: guidance acts where low < sigma/alpha <= high.
    """
    return CFGZeroStar(
        *checked("cfg_zero_star", scale, low, high),
        rescale=rescale,
        zero_init_steps=zero_init_steps,
    )


@dataclass(frozen=True)
class CFGZeroStar(ClassifierFree):
    zero_init_steps: int = 0

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        return {"scale": 1.0, "zero_init_steps": 0}

    @property
    def estimates_x0(self) -> bool:
        return self.zero_init_steps == 0

    def fit(self, info: ModelInfo) -> Guidance:
        check_one_medium(info, "the guidance 'cfg_zero_star'")
        return self

    def bind(self, run: Run) -> Bound:
        grid, steps = run.grid, len(run.grid) - 1
        if self.zero_init_steps >= steps:
            raise LdmError(
                f"cfg_zero_star rests for {self.zero_init_steps} steps (zero_init_steps), which "
                f"leaves nothing of the run's {steps}."
            )
        resting = ("positive",) if run.model.info.learned_variance else ()

        def rests(point: Point) -> bool:
            return intervals_behind(grid, point) < self.zero_init_steps

        def branches(point: Point) -> tuple[str, ...]:
            return resting if rests(point) else self.branches(point)

        def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
            if rests(at.point):
                return at.output(_rest(at.point, grid) * at.x)
            return self.on_interval(self.optimise, outputs, at)

        return replace(super().bind(run), branches=branches, combine=combine)

    def optimise(self, positive: Tensor, negative: Tensor, at: Evaluation) -> Tensor:
        dims = tuple(range(1, positive.ndim))
        norm = negative.square().sum(dims, keepdim=True).clamp(min=1e-12)
        negative = (positive * negative).sum(dims, keepdim=True) / norm * negative
        return lerp(negative, positive, self.scale)


def _rest(here: Point, grid: Grid) -> float:
    """What x is multiplied by to be the x0 that a first-order step answers with x as it was.

    It is 1 on a flow or variance-exploding path: there the velocity is zero.
    """
    there = next(point for point in grid if point.ratio < here.ratio)
    k = there.sigma / here.sigma
    return (1 - k) / (there.alpha - k * here.alpha)
