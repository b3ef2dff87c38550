"""Fréchet distance of features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Metric
from ldm_plugins.metrics.shared.features import features_of
from ldm_plugins.metrics.shared.torchmetrics import EXTRA, NEEDS, as_they_are, sets

if TYPE_CHECKING:
    from torch import Tensor


def fid(*, features: str) -> Metric:
    """Fréchet distance of the features of two sets of pictures.

    By the means and covariances of the features (Heusel et al. 2017, arXiv:1706.08500, Eq. 6),
    computed by torchmetrics in float64. Figures compare with others of the same features alone, so
    those are a part of its name.

    Args:
        features: Of what: ``latents:MODEL`` of a model's encoder, ``clip:MODEL`` of a CLIP model
            (a folder, or an id of the Hub), ``inception:FILE`` of the network that papers take,
            with its weights in a safetensors file, ``fitted`` for a small network that is fitted
            here to the reference, or ``random`` convolutions.
    """
    network = features_of(features)
    return Metric(
        network.rows,
        "sets",
        higher_is_better=False,
        best=0.0,
        lowest=0.0,
        figure=network.figure(frechet),
        note=network.said(few),
        least=2,
        label=f"fid[{network.label}]",
        needs=NEEDS,
        extra=EXTRA,
        resamples=100,
    )


def frechet(rows: Tensor, reference_rows: Tensor) -> float:
    """Of features (pictures, values) in float64, with the covariance of n - 1."""
    distance = sets()[0](feature=as_they_are(rows.shape[1])).set_dtype(rows.dtype)
    distance.update(reference_rows, real=True)
    distance.update(rows, real=False)
    return max(float(distance.compute()), 0.0)


def few(count: int, values: int) -> str:
    """That there are too few pictures for a covariance of full rank."""
    if count > values:
        return ""
    return (
        f"{count} pictures cannot fill the {values} features of each: a FID of so few is far too "
        f"large, and compares with those of as many pictures alone; kid is without that bias"
    )
