"""An ability of models that draw in two stages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ldm_core.contracts.latents import Extent

if TYPE_CHECKING:
    from torch import Tensor


class UpsamplingAbility(Protocol):
    """Ability ``latent_upsampler``: how a family has a network make its latents larger, for a
    second stage that goes on from them."""

    def enlarged(self, folder: Path, latents: Tensor, extent: Extent) -> Tensor:
        """Final latents (batch, channels, ...) of a larger extent, of those of a smaller one.

        Args:
            folder: of the network, which was seen to fit the model.
            latents: those of the first stage.
            extent: of what they become.
        """
        ...
