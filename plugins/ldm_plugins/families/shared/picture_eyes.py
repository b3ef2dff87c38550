"""What CLIP sees in pictures of any size, by a folder's own preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts import Part
from ldm_plugins.families.shared.image_prompts import processor_of

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor


class PictureEyes:
    """An image encoder with a projection.

    Args:
        encoder: the part.
        preprocessing: folder of its feature extractor; CLIP's own where it has no file.
        device: where the vectors go.
    """

    def __init__(self, encoder: Part, preprocessing: Path, device: torch.device) -> None:
        self._encoder = encoder
        self._preprocessing = preprocessing
        self._device = device

    def __call__(self, pictures: Sequence[Image]) -> Tensor:
        """(pictures, width)."""
        part = self._encoder
        processor = processor_of(self._preprocessing, part.module)
        pixels = processor(list(pictures), return_tensors="pt").pixel_values
        embeds: Tensor = part.module(pixels.to(part.device, part.dtype)).image_embeds
        return embeds.to(self._device)
