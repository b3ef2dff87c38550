"""Adaptive guidance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Bound, Evaluation, Guidance, Run
from ldm_core.numerics.point import Point
from ldm_plugins.guidance.classifier_free import ClassifierFree, NotNegative, Share, checked

if TYPE_CHECKING:
    from torch import Tensor


def adaptive(
    *,
    scale: float = 7.5,
    threshold: Annotated[float, Field(ge=-1, le=1)] = 0.991,
    rescale: Share = 0.0,
    low: NotNegative = 0.0,
    high: NotNegative | None = None,
) -> Guidance:
    """Adaptive guidance (Castillo et al. 2023, arXiv:2312.12487): classifier-free guidance until
    the two branches agree, and from there on the positive branch alone.

    They agree on an image once the cosine of the angle between their velocities is above the
    threshold. The paper compares what the network predicts; but of a network that predicts noise
    that is much the same at the noisy end, whatever is asked. So what it predicts is turned into
    the velocity alpha·noise - sigma·x0, and a threshold means the same on all models. Each image
    has its own answer. The negative branch is not asked any more once they agree on all images of
    a batch. Looking at the answers waits for the device in every step.

    Args:
        scale: strength, while it acts; 1 is none, and so is less.
        threshold: 1 is never, and guidance then acts everywhere.
        rescale: phi of Lin et al. 2023 (arXiv:2305.08891, Section 3.4), from 0 to 1: how far the
            answer is brought back to the positive one's standard deviation.
        low, high: guidance acts where low < sigma/alpha <= high.
    """
    return Adaptive(*checked("adaptive", scale, low, high), rescale=rescale, threshold=threshold)


class Agreement:
    """Of one run: at which noise level the two branches were seen to agree on each image; below it
    they are taken to."""

    def __init__(self, images: int) -> None:
        self._ratios = [-math.inf] * images

    def before(self, point: Point) -> list[bool]:
        """On which images they agreed at a noisier point."""
        return [point.ratio < ratio for ratio in self._ratios]

    def add(self, point: Point, agree: list[bool]) -> None:
        self._ratios = [
            max(ratio, point.ratio) if agrees else ratio
            for ratio, agrees in zip(self._ratios, agree, strict=True)
        ]


@dataclass(frozen=True)
class Adaptive(ClassifierFree):
    threshold: float = 1.0

    def bind(self, run: Run) -> Bound:
        agreement = Agreement(len(run.request.seeds))

        def branches(point: Point) -> tuple[str, ...]:
            return ("positive",) if all(agreement.before(point)) else self.branches(point)

        def rule(positive: Tensor, negative: Tensor, at: Evaluation) -> Tensor:
            guided = self.extrapolate(positive, negative, at)
            alone = agreement.before(at.point)
            if self.threshold < 1 and positive.device.type != "meta":
                cosine = cosines(_velocity(positive, at), _velocity(negative, at))
                agreement.add(at.point, (cosine > self.threshold).tolist())
            if not any(alone):
                return guided
            import torch

            shape = (-1, *[1] * (positive.ndim - 1))
            return torch.where(
                torch.tensor(alone, device=positive.device).reshape(shape), positive, guided
            )

        def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
            if "negative" not in outputs:
                return outputs["positive"]
            return self.on_interval(rule, outputs, at)

        return replace(super().bind(run), branches=branches, combine=combine)


def _velocity(output: Tensor, at: Evaluation) -> Tensor:
    """That which an output stands for, alpha·noise - sigma·x0 where alpha² + sigma² = 1, times a
    positive number."""
    alpha, sigma = at.point.alpha, at.point.sigma
    return alpha * at.x - (alpha**2 + sigma**2) * at.x0(output)


def cosines(one: Tensor, other: Tensor) -> Tensor:
    """(batch,) of the angles between tensors (batch, ...)."""
    one, other = one.flatten(1), other.flatten(1)
    lengths = (one.square().sum(1) * other.square().sum(1)).sqrt().clamp(min=1e-12)
    return (one * other).sum(1) / lengths
