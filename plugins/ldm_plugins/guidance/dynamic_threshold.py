"""Dynamic thresholding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, PositiveFloat

from ldm_core.contracts import Evaluation, Guidance, Run
from ldm_core.contracts.family import ModelInfo, Network
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_plugins.guidance.cfg_pp import CFGPlusPlus
from ldm_plugins.guidance.cfg_zero_star import CFGZeroStar
from ldm_plugins.guidance.classifier_free import classifier_free

if TYPE_CHECKING:
    from torch import Tensor


def dynamic_threshold(
    *,
    scale: float | None = None,
    inner: Guidance | None = None,
    percentile: Annotated[float, Field(gt=0, le=1)] = 0.995,
    limit: PositiveFloat = 1.0,
) -> Guidance:
    """Dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487, Section 2.3) of what another
    guidance makes.

    In each image, s is the given percentile of |x0|, and at least the limit; x0 is clipped to
    [-s, s] and then multiplied by limit / s, so that it lies within the limit. Made for pixels in
    [-1, 1]; latents have another range, for which the limit should be set.

    Args:
        scale: strength of classifier-free guidance, where no inner one is chosen; 7.5 where not
            given.
        inner: the guidance whose x0 is thresholded, with its options.
        percentile: share of the x0's elements that is to lie within s; 1 is the greatest.
        limit: greatest absolute value that the data is known to have.
    """
    if inner is None:
        inner = classifier_free() if scale is None else classifier_free(scale=scale)
    elif scale is not None:
        raise LdmError("dynamic_threshold has an inner guidance; set the scale among its options.")
    if isinstance(inner, CFGPlusPlus) or (isinstance(inner, CFGZeroStar) and inner.zero_init_steps):
        raise LdmError(
            "dynamic_threshold clips x0 estimates, and what cfg_pp and the first steps of "
            "cfg_zero_star answer is none; choose another inner guidance, or set zero_init_steps "
            "to 0."
        )
    return DynamicThreshold(inner, percentile, limit)


@dataclass(frozen=True)
class DynamicThreshold:
    inner: Guidance
    percentile: float
    limit: float

    def for_model(self, info: ModelInfo) -> Self:
        fit = getattr(self.inner, "for_model", None)
        return replace(self, inner=fit(info)) if fit else self

    def bind(self, run: Run) -> Self:
        bind = getattr(self.inner, "bind", None)
        return replace(self, inner=bind(run)) if bind else self

    @property
    def networks(self) -> Mapping[str, Network]:
        return getattr(self.inner, "networks", {})

    @property
    def inputs(self) -> Mapping[str, Mapping[str, Sequence[Any]]]:
        return getattr(self.inner, "inputs", {})

    @property
    def embedded_scale(self) -> float | None:
        return getattr(self.inner, "embedded_scale", None)

    def branches(self, point: Point) -> tuple[str, ...]:
        return self.inner.branches(point)

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        x0 = at.x0(self.inner.combine(outputs, at))
        return at.output(thresholded(x0, self.percentile, self.limit))


def thresholded(x0: Tensor, percentile: float, limit: float) -> Tensor:
    """x0 (batch, ...) brought within the limit, image by image."""
    sizes = x0.flatten(1).abs()
    s = sizes.quantile(percentile, dim=1).clamp(min=limit).reshape(-1, *[1] * (x0.ndim - 1))
    return x0.clamp(-s, s) * (limit / s)
