"""A metric: how sharp pictures are, whatever they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import measures

if TYPE_CHECKING:
    from torch import Tensor


@measures(lowest=0.0)
def sharpness(pictures: Tensor) -> Tensor:
    """Deviation of the Laplacian of the luminance (Pech-Pacheco et al. 2000, ICPR 15), in parts of
    white. It compares pictures of one size."""
    red, green, blue = pictures.unbind(1)  # each (batch, height, width), in [0, 1]
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    inner = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return (around - 4 * inner).flatten(1).std(1)
