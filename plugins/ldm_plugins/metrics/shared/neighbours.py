"""How many features of one set lie where the other has some (Kynkäänniemi et al. 2019,
arXiv:1904.06991, Section 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ldm_core.contracts import Metric
from ldm_core.errors import LdmError
from ldm_plugins.metrics.shared.features import features_of

if TYPE_CHECKING:
    from torch import Tensor

AT_ONCE = 1000
"""Rows whose distances to all others are computed at once."""


def share_metric(
    name: str, features: str, k: int, share: Callable[[Tensor, Tensor], float]
) -> Metric:
    """A metric of two sets that is a share.

    Args:
        share: ``share(rows, reference_rows)``, of more than k rows each.
    """
    network = features_of(features)

    def figure(rows: Tensor, reference_rows: Tensor) -> float:
        if min(len(rows), len(reference_rows)) <= k:
            raise LdmError(f"{name} with k = {k} needs more than {k} pictures of each set.")
        return share(rows, reference_rows)

    return Metric(
        network.rows,
        "sets",
        best=1.0,
        lowest=0.0,
        highest=1.0,
        figure=network.figure(figure),
        note=network.said(),
        least=k + 1,
        label=f"{name}[{network.label}]",
        resamples=100,
    )


def within(rows: Tensor, others: Tensor, k: int) -> float:
    """The share of rows that lie within the ball of one of the others, which reaches to its k-th
    neighbour among them.

    Args:
        rows, others: (pictures, values), of the same values.
        k: less than there are others.
    """
    import torch

    reach = torch.cat(
        [  # the first is itself
            torch.cdist(part, others, compute_mode=EXACT).kthvalue(k + 1).values
            for part in torch.split(others, AT_ONCE)
        ]
    )
    inside = [
        (torch.cdist(part, others, compute_mode=EXACT) <= reach).any(1)
        for part in torch.split(rows, AT_ONCE)
    ]
    return float(torch.cat(inside).double().mean())


EXACT = "donot_use_mm_for_euclid_dist"
"""So that a picture is at the distance zero from itself."""
