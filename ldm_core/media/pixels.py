"""Pixels as PIL images and arrays, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ldm_core.arguments import checks_arguments
from ldm_core.errors import LdmError, NotFiniteError
from ldm_core.media.arrays import is_array, read_array
from ldm_core.media.pictures import as_mask, as_mode, open_picture
from ldm_core.values import brief

if TYPE_CHECKING:
    from torch import Tensor

OUTPUT_TYPES = ("pil", "np", "pt", "latent")
SHOWN = (1, 3)
"""How many channels a picture has: grey, or red, green and blue."""


@checks_arguments
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
    if output_type not in OUTPUT_TYPES[:-1]:
        raise LdmError(f"the output_type of pixels is pil, np or pt, not {brief(output_type)}.")
    if pixels.ndim != 4:
        raise LdmError(f"pixels are (batch, channels, height, width), not {tuple(pixels.shape)}.")
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


@checks_arguments
def to_pixels(images: Any, channels: int = 3, mask: bool = False) -> Tensor:
    """Images as pixels in [-1, 1], (batch, channels, height, width); the inverse of `from_pixels`.

    Args:
        images: one or a list of files, PIL images, arrays (height, width, channels) and tensors
            (channels, height, width); or an array or tensor of several, the batch first. See
            `ldm_core.media.arrays.read_array` for their values.
        channels: what PIL images and files are turned to, 1 or 3.
        mask: they say where something holds, 1 where it does; see
            `ldm_core.media.pictures.as_mask`.
    Raises:
        LdmError: one is no picture, or they differ in size.
    """
    import torch

    if is_array(images):
        return read_array("image", images, channels, mask) * 2 - 1
    several = list(images) if isinstance(images, list | tuple) else [images]
    if not several:
        raise LdmError("the list of images is empty.")
    pixels = [_one(image, channels, mask) for image in several]
    sizes = {f"{one.shape[-1]}x{one.shape[-2]}" for one in pixels}
    if len(sizes) > 1:
        raise LdmError(
            f"the images are of different sizes ({', '.join(sorted(sizes))}), and those of a batch "
            "are of one."
        )
    return torch.cat(pixels) * 2 - 1


def _one(image: Any, channels: int, mask: bool) -> Tensor:
    """A picture of a list in [0, 1], (1, channels, height, width)."""
    import numpy as np
    import torch

    if is_array(image):
        pixels = read_array("image", image, channels, mask)
        if len(pixels) != 1:
            raise LdmError(f"an image of a list is one picture, not {brief(image)}.")
        return pixels.cpu()
    if isinstance(image, str | Path):
        image = open_picture(image)
    if not isinstance(image, Image.Image):
        raise LdmError(
            f"an image is a file, a PIL image, an array or a tensor, not {brief(image)}."
        )
    check_shown(channels)
    if not all(image.size):
        raise LdmError(f"the image is {image.width}x{image.height} pixels, which is none.")
    mode = "L" if channels == 1 else "RGB"
    eight = as_mask(image) if mask else as_mode(image, mode)
    array = np.asarray(eight, dtype=np.float32) / 255
    return torch.from_numpy(array.reshape(1, *array.shape[:2], channels)).permute(0, 3, 1, 2)
