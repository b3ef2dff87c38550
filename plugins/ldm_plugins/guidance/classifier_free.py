"""Classifier-free guidance."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.contracts import Evaluation, Guidance, ModelInfo
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import lerp
from ldm_plugins.guidance.shared.one_medium import check_rescale

if TYPE_CHECKING:
    from torch import Tensor

Rule = Callable[["Tensor", "Tensor", Evaluation], "Tensor"]
"""``rule(positive, negative, at)``, the network output that two answers make, each (batch, ...)."""
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


def classifier_free(
    *,
    scale: float = 7.5,
    rescale: Share = 0.0,
    low: NotNegative = 0.0,
    high: NotNegative | None = None,
    from_positive: bool = False,
) -> Guidance:
    """Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, Eq. 6).

    The answer is negative + scale·(positive - negative), both computed in one batch; the paper's
    w is scale - 1. At scale 1 the negative branch has no weight and is not computed; nor is it
    outside the interval from low to high, where the answer is the positive branch's
    (Kynkäänniemi et al. 2024, arXiv:2404.07724).

    Args:
        scale: strength; 1 is none, and so is less: 0, as the cards of distilled models say, and
            all between are taken for 1, as Diffusers' pipelines do.
        rescale: phi of Lin et al. 2023 (arXiv:2305.08891, Section 3.4): how far the guided answer
            is brought back to the standard deviation that the positive one has in each image; 0 is
            not at all.
        low, high: guidance acts where low < sigma/alpha <= high, the noise ratio of the paper's
            sigma; without an upper end where high is not given.
        from_positive: scale counts from the positive answer, as the paper's w and Krea 2's scale
            do: the answer is positive + scale·(positive - negative), and a scale of 0 is none.
    """
    if from_positive and scale < 0:
        raise LdmError(f"the scale of classifier_free must not be negative, as {scale:g} is.")
    counted = checked("classifier_free", scale + from_positive, low, high)
    return ClassifierFree(*counted, rescale=rescale, from_positive=from_positive)


def checked(
    owner: str, scale: float, low: float, high: float | None
) -> tuple[float, float, float | None]:
    """The scale, at least 1, and the interval, once they can be used; `LdmError` otherwise."""
    scale = at_least_one(owner, scale)
    if high is not None and not low < high:
        raise LdmError(
            f"{owner} acts where low < sigma/alpha <= high, and so nowhere from {low:g} to "
            f"{high:g}; for no guidance set scale to 1."
        )
    return scale, low, high


def at_least_one(owner: str, scale: float, name: str = "scale") -> float:
    """A scale of which 1 is no guidance; 1 for a smaller one, which Diffusers takes for none too.

    Between 0 and 1 the formula would lean towards the negative prompt, and at 0 the prompt would
    have no say at all, so that is said. 0 itself is how Diffusers' model cards write none.

    Raises:
        LdmError: it is negative.
    """
    if scale < 0:
        raise LdmError(f"the {name} of {owner} must not be negative, as {scale:g} is.")
    if 0 < scale < 1:
        warnings.warn(
            f"the {name} {scale:g} of {owner} is below 1, which is no guidance: it is taken for 1.",
            LdmWarning,
            stacklevel=3,
        )
    return max(scale, 1.0)


@dataclass(frozen=True)
class ClassifierFree(Guidance):
    """Guidance by a positive and a negative branch, on an interval."""

    scale: float
    low: float = 0.0
    high: float | None = None
    rescale: float = 0.0
    from_positive: bool = False

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        return {"scale": 0.0 if self.from_positive else 1.0}

    def fit(self, info: ModelInfo) -> Guidance:
        check_rescale(info, self.rescale)
        return self

    def active(self, point: Point) -> bool:
        """Whether the negative branch has a say here."""
        below = self.high is None or point.ratio <= self.high
        return self.scale != 1 and self.low < point.ratio and below

    def branches(self, point: Point) -> tuple[str, ...]:
        return ("negative", "positive") if self.active(point) else ("positive",)

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        return self.on_interval(self.extrapolate, outputs, at)

    def on_interval(self, rule: Rule, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        """What a rule makes of the two branches, rescaled; the positive one where it is not
        active."""
        positive = outputs["positive"]
        if not self.active(at.point):
            return positive
        return rescaled(rule(positive, outputs["negative"], at), positive, self.rescale)

    def extrapolate(self, positive: Tensor, negative: Tensor, at: Evaluation) -> Tensor:
        return lerp(negative, positive, self.scale)


def rescaled(guided: Tensor, positive: Tensor, phi: float) -> Tensor:
    """The guided output with some of its excess contrast taken away.

    Args:
        guided, positive: network outputs, (batch, ...).
        phi: 0 leaves it; at 1 each image has the positive output's standard deviation.
    Source: Lin et al. 2023, arXiv:2305.08891, Section 3.4.
    """
    if phi == 0:
        return guided
    dims = tuple(range(1, guided.ndim))
    spread = guided.std(dims, keepdim=True).clamp(min=1e-12)
    factor = positive.std(dims, keepdim=True) / spread
    return guided * (phi * factor + (1 - phi))
