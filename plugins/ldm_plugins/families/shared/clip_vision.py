"""CLIP's image encoder with the numbers that pictures are normalised by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Part
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_core.values import brief, is_number

if TYPE_CHECKING:
    from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of each channel, as CLIP was trained (Radford et al. 2021, arXiv:2103.00020)."""
WIDTHS = 2  # standard deviations of the blur on each side of a pixel
LEAST_BLUR = 0.001


class ClipVision:
    """An image encoder.

    Args:
        preprocessing: folder of its feature extractor, whose ``preprocessor_config.json`` says by
            which numbers pictures are normalised; CLIP's own where there is none.
    Raises:
        LdmError: as of `read_colours`.
    """

    def __init__(self, encoder: Part, preprocessing: Path) -> None:
        self._encoder = encoder
        self._mean, self._std = read_colours(preprocessing)

    def embeds(self, pictures: Tensor) -> Tensor:
        """(batch, projection) of pictures (batch, channels, height, width) in [-1, 1], scaled to
        the encoder's square, whatever their shape."""
        import torch

        part = self._encoder
        side = part.module.config.image_size
        mean, std = (torch.tensor(n).view(1, -1, 1, 1) for n in (self._mean, self._std))
        scaled = (smoothly_scaled(pictures.float(), side) + 1) / 2
        pixels = ((scaled - mean.to(scaled.device)) / std.to(scaled.device)).to(
            part.device, part.dtype
        )
        embeds: Tensor = part.module(pixels).image_embeds
        return embeds


def read_colours(preprocessing: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of each colour, by which pictures are normalised.

    Raises:
        LdmError: the feature extractor's file says something else.
    """
    file = preprocessing / "preprocessor_config.json"
    config = read_json(file) if file.is_file() else {}
    mean, std = (
        _of_colours(file, config, name, usual)
        for name, usual in (("image_mean", MEAN), ("image_std", STD))
    )
    if min(std) <= 0:
        raise LdmError(f"{file}: image_std should be above 0, not {brief(std)}.")
    return mean, std


def _of_colours(
    file: Path, config: Mapping[str, Any], name: str, usual: Sequence[float]
) -> Sequence[float]:
    """A number for each colour.

    Raises:
        LdmError: the file says something else.
    """
    numbers = config.get(name)
    if numbers is None:
        return usual
    if not (isinstance(numbers, list) and len(numbers) == 3 and all(map(is_number, numbers))):
        raise LdmError(f"{file}: {name} should be 3 numbers, not {brief(numbers)}.")
    return numbers


def smoothly_scaled(pictures: Tensor, side: int) -> Tensor:
    """Pictures scaled to a square: where they shrink, a Gaussian takes away first what is finer
    than the new pixels, with half a standard deviation for each old pixel beyond one; then cubic
    interpolation, corners on corners, as Stable Video Diffusion was trained.

    Args:
        pictures: (batch, channels, height, width).
    """
    from torch.nn.functional import interpolate

    for axis in (3, 2):
        pictures = _blurred(pictures, axis, pictures.shape[axis] / side)
    return interpolate(pictures, size=(side, side), mode="bicubic", align_corners=True)


def _blurred(pictures: Tensor, axis: int, factor: float) -> Tensor:
    import torch
    from torch.nn.functional import conv2d, pad

    sigma = max((factor - 1) / 2, LEAST_BLUR)
    size = math.floor(max(2 * WIDTHS * sigma, 3))
    size += 1 - size % 2
    reach = size // 2
    places = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
    weights = torch.exp(-(places**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    channels = pictures.shape[1]
    shape = (1, 1, 1, size) if axis == 3 else (1, 1, size, 1)
    around = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
    kernel = weights.view(shape).repeat(channels, 1, 1, 1)
    return conv2d(pad(pictures, around, mode="reflect"), kernel, groups=channels)
