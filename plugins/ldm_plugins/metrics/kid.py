"""Kernel distance of features."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Metric
from ldm_plugins.metrics.shared.features import features_of
from ldm_plugins.metrics.shared.torchmetrics import EXTRA, NEEDS, as_they_are, sets

if TYPE_CHECKING:
    from torch import Tensor


def kid(
    *,
    features: str,
    subset_size: Annotated[int, Field(ge=2, le=20_000)] = 1000,
    subsets: Annotated[int, Field(ge=1, le=10_000)] = 100,
) -> Metric:
    """Kernel distance of the features of two sets of pictures.

    The squared maximum mean discrepancy under a cubic kernel, without bias, so that it may fall
    below zero (Bińkowski et al. 2018, arXiv:1801.01401, Section 4), computed by torchmetrics in
    float64. Figures compare with others of the same features alone, so those are a part of its
    name.

    Args:
        features: As of fid.
        subset_size: Pictures of each set that are compared at once; where there are no more, all
            are.
        subsets: Draws of so many, the mean of which is the figure.
    """
    network = features_of(features)
    return Metric(
        network.rows,
        "sets",
        higher_is_better=False,
        figure=network.figure(partial(kernel, size=subset_size, subsets=subsets)),
        note=network.said(),
        least=2,
        label=f"kid[{network.label}]",
        needs=NEEDS,
        extra=EXTRA,
        resamples=100,
    )


def kernel(rows: Tensor, reference_rows: Tensor, *, size: int, subsets: int) -> float:
    """Of features (pictures, values) in float64; the draws are the same for the same features."""
    import torch

    smaller = min(len(rows), len(reference_rows))
    if smaller <= size and len(rows) == len(reference_rows):
        subsets = 1  # each draw is all of them
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it keeps the features, which are kept anyway
        distance = sets()[1](
            feature=as_they_are(rows.shape[1]), subsets=subsets, subset_size=min(size, smaller)
        )
    distance.update(reference_rows, real=True)
    distance.update(rows, real=False)
    with torch.random.fork_rng(devices=[]):  # it draws from torch's own noise
        torch.manual_seed(0)
        mean, _ = distance.compute()
    return float(mean)
