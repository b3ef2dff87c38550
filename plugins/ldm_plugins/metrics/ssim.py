"""Structural similarity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import measures
from ldm_core.errors import LdmError
from ldm_plugins.metrics.shared.torchmetrics import EXTRA, NEEDS, functions, precise

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 11
"""Pixels on a side of the window within which two pictures are compared."""


@measures("pairs", best=1.0, lowest=-1.0, highest=1.0, needs=NEEDS, extra=EXTRA)
def ssim(pictures: Tensor, references: Tensor) -> Tensor:
    """Structural similarity.

    In Gaussian windows of 11 pixels with a deviation of 1.5, of each colour (Wang et al. 2004,
    IEEE Trans. Image Process. 13, Eq. 13), computed by torchmetrics in float64; the mean over
    pictures.
    """
    if min(pictures.shape[-2:]) < WINDOW:
        height, width = pictures.shape[-2:]
        raise LdmError(
            f"ssim compares windows of {WINDOW}x{WINDOW} pixels, and a picture has "
            f"{width}x{height}.",
            "psnr measures pictures of any size.",
        )
    compute = functions().structural_similarity_index_measure
    rows: Tensor = compute(precise(pictures), precise(references), data_range=1.0, reduction="none")
    return rows.reshape(len(pictures))
