"""Classifier-free guidance that keeps the length of the positive answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ldm_core.contracts import Evaluation, Guidance, ModelInfo
from ldm_plugins.guidance.classifier_free import ClassifierFree, NotNegative, checked
from ldm_plugins.guidance.shared.one_medium import check_one_medium

if TYPE_CHECKING:
    from torch import Tensor

Over = Literal["token", "line", "image"]


def renormed(
    *,
    scale: float = 4.0,
    over: Over = "token",
    clamp: Annotated[float, Field(gt=0)] | None = None,
    low: NotNegative = 0.0,
    high: NotNegative | None = None,
    from_positive: bool = False,
) -> Guidance:
    """Classifier-free guidance whose answer is brought back to the length of the positive branch's,
    so that a large scale turns it and does not stretch it.

    With negative + scale·(positive - negative) in place of the answer u, it is
    u·|positive| / |u|, over each token as Qwen-Image takes it (Wu et al. 2025, arXiv:2508.02324),
    over each line of the latent as Lumina 2's code does, or over each image as Z-Image does, whose
    lengths are only bounded (cfg_normalization).

    Args:
        scale: strength; 1 is none, and so is less.
        over: what has a length of its own: each token ("token"), which is a patch of the latent
            with all its channels for a transformer and a place of the latent for other networks,
            each line along the latent's last axis, of each channel by itself ("line"), or the whole
            latent of an image ("image").
        clamp: only what is longer than so many times the positive answer is shortened, to that
            length; where it is not given, all lengths become the positive answer's.
        low, high: guidance acts where low < sigma/alpha <= high, as of `classifier_free`.
        from_positive: scale counts from the positive answer, as of `classifier_free`.
    """
    counted = checked("renormed", scale + from_positive, low, high)
    return Renormed(*counted, from_positive=from_positive, over=over, clamp=clamp)


@dataclass(frozen=True)
class Renormed(ClassifierFree):
    """
    Attributes:
        units: the places of a token along each axis of the latent.
    """

    over: Over = "token"
    clamp: float | None = None
    units: tuple[int, ...] = ()

    def fit(self, info: ModelInfo) -> Guidance:
        check_one_medium(info, "the guidance 'renormed'")
        return replace(self, units=tuple(axis.unit for axis in info.latents.axes))

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        return self.on_interval(self.renorm, outputs, at)

    def renorm(self, positive: Tensor, negative: Tensor, at: Evaluation) -> Tensor:
        guided = self.extrapolate(positive, negative, at)
        length = self.lengths(guided).clamp(min=1e-12)
        if self.clamp is None:
            return guided * (self.lengths(positive) / length)
        return guided * (self.clamp * self.lengths(positive) / length).clamp(max=1.0)

    def lengths(self, x: Tensor) -> Tensor:
        """The Euclidean length of what each value is a part of: like the latents (batch, channels,
        ...), with a single place along the axes that it is summed over."""
        if self.over == "image":
            return x.square().sum(tuple(range(1, x.ndim)), keepdim=True).sqrt()
        if self.over == "line":
            return x.square().sum(-1, keepdim=True).sqrt()
        squares = x.square().sum(1, keepdim=True)
        for axis, unit in enumerate(self.units, start=2):
            if unit > 1:
                tokens = squares.unfold(axis, unit, unit).sum(-1)
                squares = tokens.repeat_interleave(unit, axis)
        return squares.sqrt()
