"""What CLIP sees in pictures, of a model folder that has CLIP's image encoder."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Part
from ldm_plugins.families.shared.image_prompts import processor_of

if TYPE_CHECKING:
    from torch import Tensor


class ImageEmbeds:
    """The states before the last layer of a CLIPVisionModel.

    Args:
        processor: the folder of what scales and crops pictures for the encoder; CLIP's own is taken
            where it has none.
    """

    def __init__(self, encoder: Part, processor: Path) -> None:
        self._encoder = encoder
        self._folder = processor

    def __call__(self, pictures: Tensor) -> Tensor:
        """(pictures, tokens, width) of pictures (pictures, channels, height, width) in [-1, 1],
        which are read in 8 bits a channel, as the encoder's own preprocessing takes them."""
        import numpy as np
        from PIL import Image

        eight = ((pictures + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).cpu().numpy()
        images = [Image.fromarray(picture) for picture in eight.astype(np.uint8)]
        pixels = self._processor(images, return_tensors="pt").pixel_values
        pixels = pixels.to(self._encoder.device, self._encoder.dtype)
        states: Tensor = self._encoder.module(pixels, output_hidden_states=True).hidden_states[-2]
        return states

    @cached_property
    def _processor(self) -> Any:
        return processor_of(self._folder, self._encoder.module)
