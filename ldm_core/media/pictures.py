"""Pictures as people have them, read as grey or as red, green and blue of 8 bits.

`open_picture` is the one place where a picture file is opened. Its format is told by its first
bytes (`ldm_core.media.picture_forms`) and given to Pillow by name, which else would try each of its
decoders, some of which start other programs.
"""

from __future__ import annotations

import os
import stat
import warnings
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image, ImageChops, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media import deep_pictures as deep
from ldm_core.media.picture_forms import CUT_OFF, Form, Unreadable, check_size, form_of
from ldm_core.media.strict_pillow import strict_pillow

MOST_BYTES = 1 << 29
"""Of a picture file."""
WITHOUT_WHITE = {"F": "floating-point numbers", "I": "32-bit whole numbers"}
"""Modes of Pillow in which nothing says which value is white."""
NEAR = 8
"""So many of the 256 greys are taken for black, and as many for white."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture of an orientation the way up that its camera says (EXIF 2.32, table 6)."""
OF_FEW_BITS = {2: 85, 4: 17}
"""What a grey of so many bits is multiplied by to become one of 8."""


def open_picture(source: Path | str, name: str = "image") -> Image.Image:
    """A picture file, read whole, the way up that its camera says; 16 bits as 8.

    PNG, JPEG, WebP, GIF, TIFF and BMP are read, whatever the file is called; of several frames or
    pages the first is taken, which is said. Notes in the file (text, colour profiles) are left out.

    Args:
        name: what to call it in an error.
    Raises:
        LdmError: there is no such file; or it cannot be read as a picture, because it is of
            another format, damaged, cut off, or too large.
    """
    path = expanded(source)
    try:
        form = form_of(_read(path))
        with strict_pillow(has_c_messages=form.format == "TIFF"):
            image, damaged_notes = _decoded(form)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise LdmError(
            f"the {name} '{source}' cannot be read: it is damaged, or a {form.format} of a kind "
            "that is not read.",
            "saved anew, as PNG in 8 or 16 bits, it can be.",
        ) from None
    except Exception as error:  # decoders raise what they like of a broken file
        if isinstance(error, Unreadable):
            reason = str(error)
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        else:
            reason = f"the file is damaged ({str(error) or type(error).__name__})"
        raise LdmError(f"the {name} '{source}' cannot be read: {reason.rstrip('.')}.") from None
    if form.several:
        _note(f"the {name} has several frames or pages, and the first of them is taken")
    if damaged_notes:
        _note(
            f"the camera's notes (EXIF) in the {name} are damaged, so it may not be the right way "
            "up"
        )
    return image


def _note(text: str) -> None:
    warnings.warn(text, LdmWarning, stacklevel=3)


def _read(path: Path) -> bytes:
    """A file, and nothing that never ends.

    Raises:
        OSError, Unreadable: it cannot be read, or is no file, or too large.
    """
    _check_file(path.stat().st_mode)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        _check_file(about.st_mode)
        if about.st_size > MOST_BYTES:
            raise Unreadable(f"the file has more than {MOST_BYTES >> 20} MiB, which is not read")
        return file.read(about.st_size)


def _check_file(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise Unreadable("it is a folder")
    if not stat.S_ISREG(mode):
        raise Unreadable("it is a device or a pipe, and no file")


def _decoded(form: Form) -> tuple[Image.Image, bool]:
    """The picture of a form, upright, and whether what says its orientation is damaged."""
    four = deep.grey_and_alpha_of_16_bits(form.data) if form.format == "PNG" else None
    file = opened_form(form, four)
    if isinstance(file, TiffImageFile):
        _check_bits(file)
        _check_strips(file)
    image: Image.Image
    if match := deep.DEEP.fullmatch(deep.raw_mode(file)):
        image = _of_16_bits(form, file, *match.groups())
    else:
        file.load()
        image = file
    check_size(*file.size)
    damaged, orientation = False, 1
    try:
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the notes of a camera, which are parsed as freely as they are written
        damaged = True
    if four is not None:
        image = deep.grey_and_alpha(file)
    elif isinstance(file, TiffImageFile):
        white = 4095 if file.tag_v2.get(258) == (12,) else 65535
        image = deep.grey_of_16_bits(image, white, file.tag_v2.get(262) == 0)
    else:
        image = deep.grey_of_16_bits(image.convert("I;16") if image.mode == "I" else image)
    clear = image.info.get("transparency")
    if form.format == "PNG" and form.data[25] == 0 and isinstance(clear, int):
        clear *= OF_FEW_BITS.get(form.data[24], 1)
    image.info = {} if clear is None else {"transparency": clear}
    return _turned(image, orientation), damaged


def _check_bits(file: TiffImageFile) -> None:
    """Refuse colours of which Pillow drops bits beyond the reach of `deep_pictures`."""
    bits, planes = file.tag_v2.get(258, (1,)), file.tag_v2.get(284) == 2
    if len(bits) > 1 and max(bits) > 8 and (planes or not deep.DEEP.fullmatch(deep.raw_mode(file))):
        raise Unreadable(
            f"its {max(bits)} bits are stored in {'planes' if planes else 'a way'} that cannot be "
            "read; save it as PNG"
        )


def _check_strips(file: TiffImageFile) -> None:
    """Refuse a TIFF of fewer strips or tiles than its size needs: Pillow leaves the rest black.

    Source: TIFF 6.0, Sections 3 (StripsPerImage) and 15 (TilesPerImage).
    """
    tags = file.tag_v2
    width, height = tags.get(256, 0), tags.get(257, 0)
    if 322 in tags:
        wide, high, offsets = tags[322], tags.get(323, 0), tags.get(324, ())
    else:
        wide, high, offsets = width, min(tags.get(278, height), height), tags.get(273, ())
    if min(wide, high) < 1:
        raise Unreadable("the file is damaged: its strips have no size")
    planes = tags.get(277, 1) if tags.get(284) == 2 else 1
    if len(offsets) < planes * -(-width // wide) * -(-height // high):
        raise Unreadable(CUT_OFF)


def decoded(data: bytes, form: str) -> Image.Image:
    """A picture that was encoded just now.

    Args:
        form: its format, in Pillow's words.
    """
    image = Image.open(BytesIO(data), formats=(form,))
    image.load()
    return image


def opened_form(form: Form, data: bytes | None = None) -> ImageFile.ImageFile:
    """A picture file of a form, whose first frame is not decoded yet."""
    file = Image.open(BytesIO(form.data if data is None else data), formats=(form.format,))
    assert isinstance(file, ImageFile.ImageFile)
    check_size(*file.size)
    return file


def _of_16_bits(form: Form, upper: ImageFile.ImageFile, mode: str, order: str) -> Image.Image:
    """A picture of colours in 16 bits; `upper` is the file opened, and is decoded here."""
    lower, plain = opened_form(form), "RGBA" if mode == "RGBa" else mode
    deep.set_raw_mode(upper, f"{plain};16{order}")
    deep.set_raw_mode(lower, f"{plain};16{deep.OTHER[order]}")
    upper.load()
    lower.load()
    clear = upper.info.get("transparency")
    of_three = tuple(clear) if isinstance(clear, tuple) and upper.mode == "RGB" else None
    return deep.colours_of_16_bits(upper, lower, mode == "RGBa", of_three)


def _turned(image: Image.Image, orientation: object) -> Image.Image:
    """A picture turned upright, without the file that it came from."""
    method = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image.copy() if method is None else image.transpose(method)


def as_mode(image: Image.Image, mode: str, name: str = "image") -> Image.Image:
    """A picture in 8 bits a channel.

    Transparency is left out, as Diffusers does; where there is some, that is said.

    Args:
        mode: ``L`` (grey) or ``RGB``.
        name: what to call it in an error.
    Raises:
        LdmError: its values do not say what is white, or Pillow has no way to the mode.
    """
    image = _of_8_bits(image, name)
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
    image = _of_8_bits(image, name)
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


def _of_8_bits(image: Image.Image, name: str) -> Image.Image:
    """A picture that Python may have opened, and not decoded yet."""
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise LdmError(f"the {name} cannot be read: {error}.") from None
    return deep.grey_of_16_bits(image)


def _converted(image: Image.Image, mode: str, name: str) -> Image.Image:
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
    own = image.mode in ("RGBA", "LA", "PA")
    alpha = (image if own else image.convert("RGBA")).getchannel("A")
    return alpha if alpha.getextrema()[0] != 255 else None


def _note_orientation(image: Image.Image, name: str) -> None:
    """Say of a picture that Python opened that it lies on its side."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as in `_decoded`
        return
    if orientation in UPRIGHT:
        warnings.warn(
            f"the {name} carries an orientation (EXIF) that a picture opened in Python is not "
            "turned by; give the file, or turn it by PIL.ImageOps.exif_transpose",
            LdmWarning,
            stacklevel=3,
        )
