"""Sixteen bits a channel, rounded to eight.

Pillow has no mode for colours of 16 bits: it takes the upper byte of each value. The lower ones are
decoded by themselves, by the same decoder, in which the bytes are said to stand the other way
round.
"""

from __future__ import annotations

import re
import sys
import zlib
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Words = npt.NDArray[np.uint16]

DEEP = re.compile(r"(RGB|RGBA|RGBX|RGBa|CMYK);16([LBN])")
"""Pillow's names of colours that have 16 bits, with the order of their bytes."""
OTHER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
AT_ONCE = 1 << 20
"""Pixels that are computed at once, so that it takes little memory."""


def rounded(values: Words, white: int = 65535) -> npt.NDArray[np.uint8]:
    """Values from 0 to `white` as those nearest to them from 0 to 255, of the same shape."""
    import numpy as np

    flat, out = values.reshape(-1), np.empty(values.size, np.uint8)
    for start in range(0, flat.size, AT_ONCE):
        part = flat[start : start + AT_ONCE].astype(np.uint32)
        if white == 65535:
            out[start : start + AT_ONCE] = (
                part * 255 + 32895
            ) >> 16  # the nearest, for every value of 16 bits
        else:
            nearest = (part * 255 + white // 2) // white
            out[start : start + AT_ONCE] = np.minimum(nearest, 255)
    return out.reshape(values.shape)


def raw_mode(image: ImageFile.ImageFile) -> str:
    """Pillow's name of how the values of a picture file lie, before it is decoded."""
    if not image.tile:
        return ""
    args = image.tile[0][3]
    return str(args[0] if isinstance(args, tuple) and args else args)


def set_raw_mode(image: ImageFile.ImageFile, name: str) -> None:
    """Have a picture file be decoded as if its values lay otherwise."""
    tiles: list[Any] = []
    for tile in image.tile:
        args = (name, *tile[3][1:]) if isinstance(tile[3], tuple) else name
        tiles.append(tile._replace(args=args))
    image.tile = tiles


def colours_of_16_bits(
    upper: Image.Image, lower: Image.Image, premultiplied: bool, clear: tuple[int, ...] | None
) -> Image.Image:
    """The picture whose values have these upper and lower bytes, in 8 bits; `upper` becomes it.

    Args:
        premultiplied: whether the colours are multiplied by the alpha.
        clear: the colour, in 16 bits, that is transparent.
    """
    import numpy as np

    width, height = upper.size
    result = upper if clear is None else Image.new("RGBA", upper.size)
    rows = max(1, AT_ONCE // width)
    for start in range(0, height, rows):
        box = (0, start, width, min(start + rows, height))
        values: Words = np.asarray(upper.crop(box)).astype(np.uint16)
        values <<= 8
        values |= np.asarray(lower.crop(box))
        if premultiplied:
            alpha = np.maximum(values[..., 3:], 1).astype(np.uint32)
            colours = (values[..., :3].astype(np.uint32) * 65535 + alpha // 2) // alpha
            values[..., :3] = np.minimum(colours, 65535)
        part = rounded(values)
        if clear is not None:
            opaque = np.where((values == np.array(clear)).all(axis=-1, keepdims=True), 0, 255)
            part = np.concatenate([part, opaque.astype(np.uint8)], axis=-1)
        result.paste(Image.fromarray(part, result.mode), (0, start))
    return result


def grey_of_16_bits(image: Image.Image, white: int = 65535, inverted: bool = False) -> Image.Image:
    """A picture whose grey has 16 bits with 8 in their place; any other as it is.

    Pillow's own conversion takes every value above 255 for white.

    Args:
        white: the value of white.
        inverted: whether 0 is white, and that black.
    """
    if not image.mode.startswith("I;16"):
        return image
    import numpy as np

    values: Words = np.asarray(image).astype(np.uint16, copy=False)
    grey = rounded(values, white)
    if inverted:
        grey = 255 - grey
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        alpha = np.where(values == clear, 0, 255).astype(np.uint8)
        return Image.fromarray(np.stack([grey, alpha], axis=-1), "LA")
    return Image.fromarray(grey)


def grey_and_alpha_of_16_bits(data: bytes) -> bytes | None:
    """A PNG of grey and alpha in 16 bits as one whose red and blue are the upper bytes of these,
    and green and alpha the lower; None for any other file.

    Its rows are those of a PNG of four channels in 8 bits, to the byte.
    """
    if data[24:26] != b"\x10\x04":
        return None
    head = data[12:24] + b"\x08\x06" + data[26:29]
    return data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:]


def grey_and_alpha(image: Image.Image) -> Image.Image:
    """The picture that `grey_and_alpha_of_16_bits` has taken for one of four channels, decoded."""
    import numpy as np

    values = np.asarray(image).view(">u2").reshape(image.height, image.width, 2)
    return Image.fromarray(rounded(values), "LA")
