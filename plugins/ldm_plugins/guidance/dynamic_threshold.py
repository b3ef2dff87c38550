"""Dynamic thresholding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, PositiveFloat

from ldm_core.contracts import Bound, Evaluation, Guidance, ModelInfo, Run
from ldm_core.errors import LdmError
from ldm_plugins.guidance.classifier_free import classifier_free
from ldm_plugins.guidance.shared.around import Around
from ldm_plugins.guidance.shared.one_medium import check_one_medium

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
    if not inner.estimates_x0:
        raise LdmError(
            "dynamic_threshold clips x0 estimates, and what cfg_pp and the first steps of "
            "cfg_zero_star answer is none; choose another inner guidance, or set zero_init_steps "
            "to 0."
        )
    return DynamicThreshold(inner, percentile, limit)


@dataclass(frozen=True)
class DynamicThreshold(Around):
    percentile: float
    limit: float

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        return {"inner": "ldm-core:none", "limit": 3e38}

    def fit(self, info: ModelInfo) -> Self:
        check_one_medium(info, "the guidance 'dynamic_threshold'")
        return super().fit(info)

    def around(self, inner: Bound, run: Run) -> Bound:
        def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
            x0 = inner.x0(outputs, at)
            return at.output(thresholded(x0, self.percentile, self.limit))

        return replace(inner, combine=combine, gives_x0=False)


def thresholded(x0: Tensor, percentile: float, limit: float) -> Tensor:
    """x0 (batch, ...) brought within the limit, image by image."""
    sizes = x0.flatten(1).abs()
    s = sizes.quantile(percentile, dim=1).clamp(min=limit).reshape(-1, *[1] * (x0.ndim - 1))
    return x0.clamp(-s, s) * (limit / s)
