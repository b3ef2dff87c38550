"""An ability of models that draw a picture in few pixels, and enlarge it themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class SuperResolutionAbility(Protocol):
    """Ability ``super_resolution``: how a family enlarges what its main network draws."""

    def enlarged(self, small: Tensor, seeds: Sequence[int], steps: int) -> Tensor:
        """The picture (batch, channels, height, width) in [-1, 1] of its few pixels.

        Args:
            small: in [-1, 1], which alone the networks see.
            seeds: of each image, on which the noise depends alone.
            steps: how many the networks make.
        """
        ...
