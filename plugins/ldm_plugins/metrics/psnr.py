"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import measures
from ldm_plugins.metrics.shared.torchmetrics import EXTRA, NEEDS, functions
from ldm_plugins.metrics.shared.words import pictures_of

if TYPE_CHECKING:
    from torch import Tensor


def _identical(rows: Tensor) -> str:
    count = int(rows.isinf().sum())
    return f"{pictures_of(count)} equal to the reference, whose PSNR is infinite" if count else ""


@measures("pairs", unit="dB", best="infinite", note=_identical, needs=NEEDS, extra=EXTRA)
def psnr(pictures: Tensor, references: Tensor) -> Tensor:
    """Peak signal-to-noise ratio.

    -10 log10 of the mean squared error of all pixels and colours, computed by torchmetrics; the
    mean over pictures.
    """
    compute = functions().peak_signal_noise_ratio
    rows: Tensor = compute(pictures, references, data_range=1.0, reduction="none", dim=(1, 2, 3))
    return rows
