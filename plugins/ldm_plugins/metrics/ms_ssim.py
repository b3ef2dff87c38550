"""Structural similarity at several scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import measures
from ldm_core.errors import LdmError
from ldm_plugins.metrics.shared.torchmetrics import EXTRA, NEEDS, functions, precise

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 10 * 2**4 + 1
"""Pixels on a side: five scales, each half the one before, of windows of 11 pixels."""


@measures("pairs", best=1.0, lowest=0.0, highest=1.0, needs=NEEDS, extra=EXTRA)
def ms_ssim(pictures: Tensor, references: Tensor) -> Tensor:
    """Structural similarity at five scales.

    With the exponents of Wang, Simoncelli & Bovik 2003 (Asilomar, Eq. 7), computed by torchmetrics
    in float64; the mean over pictures.
    """
    if min(pictures.shape[-2:]) < SMALLEST:
        height, width = pictures.shape[-2:]
        raise LdmError(
            f"ms_ssim needs {SMALLEST} pixels on each side, and a picture has {width}x{height}.",
            "ssim measures pictures from 11 pixels on.",
        )
    compute = functions().multiscale_structural_similarity_index_measure
    rows: Tensor = compute(
        precise(pictures), precise(references), data_range=1.0, reduction="none", normalize="relu"
    )
    return rows.reshape(len(pictures))
