"""Precision of a set of pictures."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ldm_core.contracts import Metric
from ldm_plugins.metrics.shared.neighbours import share_metric, within


def precision(*, features: str, k: Annotated[int, Field(ge=1, le=1000)] = 3) -> Metric:
    """How many pictures look like one of the reference set.

    The share of them whose features lie within the reference set's: in a ball around one
    of those that reaches to its k-th neighbour among them (Kynkäänniemi et al. 2019,
    arXiv:1904.06991, Eq. 2). Figures compare with others of the same features, k and numbers of
    pictures alone.

    Args:
        features: As of fid.
        k: Which neighbour a ball reaches to.
    """
    return share_metric(
        "precision", features, k, lambda rows, references: within(rows, references, k)
    )
