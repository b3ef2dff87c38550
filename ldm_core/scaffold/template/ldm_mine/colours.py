"""A metric: a function of pictures that gives each a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import measures

if TYPE_CHECKING:  # importing it costs every command more than a second
    from torch import Tensor


@measures(lowest=0.0)
def colours(pictures: Tensor, *, mean_weight: float = 0.3) -> Tensor:
    """How colourful pictures are (Hasler & Süsstrunk 2003, Proc. SPIE 5007, Eq. 12), in parts of
    white.

    Args:
        mean_weight: of how far the colours are from grey, beside how much they differ.
    """
    red, green, blue = pictures.unbind(1)  # each (batch, height, width), in [0, 1]
    first, second = red - green, (red + green) / 2 - blue
    spread = (first.var((1, 2)) + second.var((1, 2))).sqrt()
    mean = (first.mean((1, 2)).square() + second.mean((1, 2)).square()).sqrt()
    return spread + mean_weight * mean
