"""Guidance that the network was distilled to take as a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ldm_core.contracts import Guidance
from ldm_core.errors import LdmError
from ldm_plugins.guidance.classifier_free import ClassifierFree, at_least_one


def embedded(*, scale: float = 3.5, true_scale: float = 1.0) -> Guidance:
    """Guidance told to a network that was distilled to take it (Meng et al. 2023,
    arXiv:2210.03142, Section 3.1).

    One call does the work of two. For models of this kind alone, such as latent consistency
    models and FLUX.1 dev.

    Args:
        scale: strength that the network is told; 1 is none.
        true_scale: strength of classifier-free guidance beside it, with the negative prompt; 1 is
            none, and so is less.
    """
    if scale < 0:
        raise LdmError(f"the scale of embedded must not be negative, as {scale:g} is.")
    true_scale = at_least_one("embedded", true_scale, "true_scale")
    return Embedded(true_scale, network_scale=scale)


@dataclass(frozen=True)
class Embedded(ClassifierFree):
    network_scale: float = field(kw_only=True)

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        return {"true_scale": 1.0}

    @property
    def embedded_scale(self) -> float:
        return self.network_scale
