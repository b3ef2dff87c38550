"""The sizes of pictures, as networks are told them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import Condition
from ldm_core.contracts.abilities import Sizes

if TYPE_CHECKING:
    import torch


class PictureSizes:
    """Sizes as the network's condition ``size`` (Podell et al. 2023, arXiv:2307.01952, Section
    2.2).

    Args:
        device: where the condition goes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def encode(self, sizes: Sequence[Sizes]) -> Condition:
        """(pictures, 6) original size, crop and target size, float32."""
        import torch

        rows = [(*s.original, *s.crop, *s.target) for s in sizes]
        return {"size": torch.tensor(rows, dtype=torch.float32, device=self._device)}
