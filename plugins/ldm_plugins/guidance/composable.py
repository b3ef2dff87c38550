"""Composable diffusion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Bound, Evaluation, Guidance, ModelInfo, Run
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.numerics.point import Point
from ldm_plugins.guidance.classifier_free import NotNegative, Share, checked, rescaled
from ldm_plugins.guidance.shared.one_medium import check_rescale

if TYPE_CHECKING:
    from torch import Tensor


def composable(
    *,
    prompts: list[str],
    scale: float = 7.5,
    rescale: Share = 0.0,
    input: str = "prompt",
    low: NotNegative = 0.0,
    high: NotNegative | None = None,
) -> Guidance:
    """Composable diffusion (Liu et al. 2022, arXiv:2206.01714): several prompts at once, joined
    by AND and NOT.

    The answer is negative + scale·(weight·(branch - negative), summed over the request's own
    prompt, whose weight is 1, and these); the paper's weights are scale·weight. All branches are
    computed in one batch, those of weight 0 not at all.

    Args:
        prompts: one or more, each for every image, as ``a red circle``, ``a red circle:0.8`` with a
            weight, or ``fog:-0.5``: a prompt of negative weight is led away from (NOT). What
            follows the last colon is the weight where it is a number.
        scale: strength; factor of all weights; 1 is none beside them, and so is less.
        rescale: phi of Lin et al. 2023 (arXiv:2305.08891, Section 3.4), from 0 to 1: how far the
            answer is brought back to the standard deviation of that to the request's own prompt.
        input: what the prompts stand for: an input of the pipeline, such as ``class_label``.
        low, high: guidance acts where low < sigma/alpha <= high; elsewhere the answer is the
            positive branch's, and no other is computed.
    """
    scale, low, high = checked("composable", scale, low, high)
    if not prompts:
        raise LdmError("composable needs prompts beside the request's own, as in ['a blue sky:1'].")
    weighted = [_weighted(prompt) for prompt in prompts]
    return Composable(
        scale=scale,
        rescale=rescale,
        input=input,
        low=low,
        high=high,
        prompts=tuple((text, weight) for text, weight in weighted if weight),
    )


def _weighted(prompt: str) -> tuple[str, float]:
    """A prompt and its weight; what follows the last colon where it is a number, or else 1."""
    text, colon, tail = prompt.rpartition(":")
    try:
        weight = float(tail) if colon else 1.0
    except ValueError:
        text, weight = prompt, 1.0
    else:
        text = text if colon else prompt
    if not text.strip() or not math.isfinite(weight):
        raise LdmError(
            f"a prompt of composable is text, or text:weight with a finite number, not '{prompt}'."
        )
    return text.strip(), weight


@dataclass(frozen=True)
class Composable(Guidance):
    scale: float
    rescale: float
    input: str
    prompts: tuple[tuple[str, float], ...]
    low: float = 0.0
    high: float | None = None

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        return {"scale": 1.0, "prompts": ["any:0"]}

    def fit(self, info: ModelInfo) -> Guidance:
        check_rescale(info, self.rescale)
        return self

    def active(self, point: Point) -> bool:
        """Whether the other branches have a say here."""
        return self.low < point.ratio and (self.high is None or point.ratio <= self.high)

    def bind(self, run: Run) -> Bound:
        names, images = run.request.inputs, len(run.request.seeds)
        if self.input not in names:
            raise LdmError(
                f"this pipeline takes no '{self.input}' for composable's prompts to stand for."
                f"{did_you_mean(self.input, names)} It takes {', '.join(names) or 'no input'}."
            )
        inputs = {
            f"prompt {i}": {self.input: [_number_or_text(self.input, text)] * images}
            for i, (text, _) in enumerate(self.prompts, start=2)
        }
        return Bound(self.branches, self.combine, inputs=inputs)

    @property
    def weights(self) -> dict[str, float]:
        """The factor of each branch."""
        others = {f"prompt {i}": self.scale * w for i, (_, w) in enumerate(self.prompts, start=2)}
        branches = {"positive": self.scale, **others}
        negative = 1 - math.fsum(branches.values())
        return {"negative": negative, **branches} if negative else branches

    def branches(self, point: Point) -> tuple[str, ...]:
        return tuple(self.weights) if self.active(point) else ("positive",)

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        weights, positive = self.weights, outputs["positive"]
        if not self.active(at.point):
            return positive
        total = weights.pop("positive") * positive
        for name, weight in weights.items():
            total = total + weight * outputs[name]
        return rescaled(total, positive, self.rescale)


def _number_or_text(name: str, text: str) -> int | str:
    """What a person would have given for this input: classes are numbers too."""
    return int(text) if name != "prompt" and text.isdecimal() else text
