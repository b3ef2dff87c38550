"""Pictures as people have them, read as grey or as red, green and blue of 8 bits."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image, ImageChops, ImageOps, UnidentifiedImageError

from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media.png_chunks import SIGNATURE, split_text

SCALED_TO_16_BITS = ("PNG", "PPM")
"""Formats that Pillow may give as 32-bit whole numbers whose white is that of 16 bits."""
WITHOUT_WHITE = {"F": "floating-point numbers", "I": "32-bit whole numbers"}
"""Modes of Pillow in which nothing says which value is white."""
NEAR = 8
"""So many of the 256 greys are taken for black, and as many for white."""


def open_picture(source: Path | str, name: str = "image") -> Image.Image:
    """A picture file, read whole, the way up that its camera says; 16 bits of grey as 8.

    Args:
        name: what to call it in an error.
    Raises:
        LdmError: there is no such file, or it cannot be read as a picture.
    """
    path = expanded(source)
    try:
        image = _open(path)
        scaled = image.mode == "I" and image.format in SCALED_TO_16_BITS
        upright = ImageOps.exif_transpose(image)
        return grey_of_16_bits(upright.convert("I;16") if scaled else upright)
    except UnidentifiedImageError:
        raise LdmError(f"the {name} '{source}' cannot be read: it is no picture.") from None
    except Exception as error:  # decoders raise what they like of a broken file
        reason = error.strerror if isinstance(error, OSError) else None
        reason = reason or str(error) or type(error).__name__
        raise LdmError(f"the {name} '{source}' cannot be read: {reason.rstrip('.')}.") from None


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()  # text may stand behind the pixels too
        return image
    except ValueError:  # Pillow bounds the text in a PNG, which says nothing of its pixels
        data = path.read_bytes()
        if not data.startswith(SIGNATURE):
            raise
        image = Image.open(BytesIO(split_text(data)[0]))
        image.load()
        return image


def grey_of_16_bits(image: Image.Image) -> Image.Image:
    """A picture whose grey has 16 bits with 8 in their place, rounded; any other as it is.

    Pillow's own conversion takes every value above 255 for white.
    """
    if not image.mode.startswith("I;16"):
        return image
    import numpy as np

    values = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def as_mode(image: Image.Image, mode: str, name: str = "image") -> Image.Image:
    """A picture in 8 bits a channel.

    Transparency is left out, as Diffusers does; where there is some, that is said.

    Args:
        mode: ``L`` (grey) or ``RGB``.
        name: what to call it in an error.
    Raises:
        LdmError: its values do not say what is white, or Pillow has no way to the mode.
    """
    converted = _converted(image, mode, name)
    _note_orientation(image, name)
    if _alpha(image) is not None:
        warnings.warn(
            f"the {name} has transparent pixels: the transparency is left out, and the colours "
            "beneath it count; paint it onto a background where that is not meant",
            LdmWarning,
            stacklevel=2,
        )
    return converted


def as_mask(image: Image.Image, name: str = "mask") -> Image.Image:
    """A mask in 8 bits of grey, white where it holds.

    One that is painted in white on transparency is white as far as it is opaque.

    Raises:
        LdmError: as of `as_mode`, or it has transparency and something else than black and white,
            so that it is not clear which of the two is the mask.
    """
    grey, alpha = _converted(image, "L", name), _alpha(image)
    _note_orientation(image, name)
    if alpha is None:
        return grey
    counts = grey.histogram(alpha)  # of the pixels that can be seen
    if not any(counts[-NEAR:]) or any(counts[NEAR:-NEAR]):
        raise LdmError(
            f"the {name} is drawn on transparency in other colours than white, so it does not say "
            "what is meant: what is painted, or what is left transparent.",
            "paint it white where it holds, on black or on transparency.",
        )
    return ImageChops.multiply(grey, alpha)


def _converted(image: Image.Image, mode: str, name: str) -> Image.Image:
    image = grey_of_16_bits(image)
    if image.mode in WITHOUT_WHITE:
        raise LdmError(
            f"the {name} holds {WITHOUT_WHITE[image.mode]} (Pillow's mode {image.mode}), which do "
            "not say what is white; save it in 8 or 16 bits.",
            "in Python, a tensor in [0, 1] says it.",
        )
    try:
        return image.convert(mode)
    except ValueError as error:
        raise LdmError(f"the {name} cannot be read as {mode}: {error}.") from None


def _alpha(image: Image.Image) -> Image.Image | None:
    """How opaque each pixel is; None where all are wholly so."""
    if not image.has_transparency_data or image.mode.startswith("I"):
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return alpha if alpha.getextrema()[0] != 255 else None


def _note_orientation(image: Image.Image, name: str) -> None:
    """Say of a picture that Python opened that it lies on its side."""
    if image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1):
        warnings.warn(
            f"the {name} carries an orientation (EXIF) that a picture opened in Python is not "
            "turned by; give the file, or turn it by PIL.ImageOps.exif_transpose",
            LdmWarning,
            stacklevel=3,
        )
