"""Recall of a set of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Metric
from ldm_core.errors import LdmError
from ldm_plugins.metrics.shared.features import features_of
from ldm_plugins.metrics.shared.neighbours import within

if TYPE_CHECKING:
    from torch import Tensor


def recall(*, features: str, k: Annotated[int, Field(ge=1, le=1000)] = 3) -> Metric:
    """How much of the reference set pictures cover.

    The share of the reference pictures whose features lie within the pictures': in a ball around
    one of those that reaches to its k-th neighbour among them (Kynkäänniemi et al. 2019,
    arXiv:1904.06991, Eq. 2). Figures compare with others of the same features, k and numbers of
    pictures alone.

    Args:
        features: As of fid.
        k: Which neighbour a ball reaches to.
    """
    network = features_of(features)

    def share(rows: Tensor, reference_rows: Tensor) -> float:
        if min(len(rows), len(reference_rows)) <= k:
            raise LdmError(f"recall with k = {k} needs more than {k} pictures of each set.")
        return within(reference_rows, rows, k)

    return Metric(
        network.rows,
        "sets",
        best=1.0,
        lowest=0.0,
        highest=1.0,
        figure=share,
        least=k + 1,
        label=f"recall[{network.label}]",
        resamples=100,
    )
