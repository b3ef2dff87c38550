"""Pixels as PIL images and arrays, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from ldm_core.errors import LdmError, NotFiniteError
from ldm_core.media.pictures import as_mode

if TYPE_CHECKING:
    from torch import Tensor

OUTPUT_TYPES = ("pil", "np", "pt", "latent")
SHOWN = (1, 3)
"""How many channels a picture has: grey, or red, green and blue."""


def from_pixels(pixels: Tensor, output_type: str) -> Any:
    """Decoder output as the caller wants it.

    Args:
        pixels: (batch, channels, height, width) in about [-1, 1].
        output_type: ``pil`` (a list of images, of 1 channel in grey, of 3 in RGB), ``np`` (batch,
            height, width, channels) or ``pt`` (batch, channels, height, width), the last two
            float32 in [0, 1].
    Raises:
        LdmError: images were asked for, and what there is has other channels.
        NotFiniteError: images were asked for, and some numbers are not finite.
    """
    if output_type == "pil":
        check_shown(pixels.shape[1])
        if not pixels.isfinite().all():
            raise NotFiniteError(
                "pixels that are not finite (NaN or infinite) make no image; np or pt gives them."
            )
    unit = (pixels / 2 + 0.5).clamp(0, 1).cpu().float()
    if output_type == "pt":
        return unit
    array = unit.permute(0, 2, 3, 1).numpy()
    if output_type == "np":
        return array
    pictures = (array * 255).round().astype("uint8")
    return [
        Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)
        for picture in pictures
    ]


def check_shown(channels: int) -> None:
    """Refuse to make images of what is none."""
    if channels not in SHOWN:
        raise LdmError(
            f"what this model makes has {channels} channels, and an image has 1 (grey) or 3 (red, "
            "green, blue).",
            'in Python, output_type="np" or "pt" gives it as numbers.',
        )


def to_pixels(images: Any, channels: int = 3) -> Tensor:
    """Images as pixels in [-1, 1]; the inverse of `from_pixels`.

    Args:
        images: PIL images, or an array (batch, height, width, channels) or tensor (batch,
            channels, height, width) in [0, 1].
        channels: what PIL images are turned to, 1 or 3.
    """
    import numpy as np
    import torch

    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images).permute(0, 3, 1, 2)
    if isinstance(images, torch.Tensor):
        if not images.isfinite().all():
            raise LdmError("the image holds numbers that are not finite (NaN or infinite).")
        return images.float() * 2 - 1
    if isinstance(images, Image.Image):
        images = [images]
    check_shown(channels)
    mode = "L" if channels == 1 else "RGB"
    arrays = [np.asarray(as_mode(image, mode), dtype=np.float32) / 255 for image in images]
    shape = (len(arrays), *arrays[0].shape[:2], channels)
    return torch.from_numpy(np.stack(arrays).reshape(shape)).permute(0, 3, 1, 2) * 2 - 1
