"""Pixels as PIL images, arrays and PNG files with their manifest inside."""

from __future__ import annotations

import json
import math
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import Tensor

OUTPUT_TYPES = ("pil", "np", "pt", "latent")
SHOWN = (1, 3)
"""How many channels a picture has: grey, or red, green and blue."""

KEYWORD = "ldm"
"""The PNG text chunk that holds a manifest."""


def from_pixels(pixels: Tensor, output_type: str) -> Any:
    """Decoder output as the caller wants it.

    Args:
        pixels: (batch, channels, height, width) in about [-1, 1].
        output_type: ``pil`` (a list of images, of 1 channel in grey, of 3 in RGB), ``np`` (batch,
            height, width, channels) or ``pt`` (batch, channels, height, width), the last two
            float32 in [0, 1].
    Raises:
        LdmError: images were asked for, and what there is has other channels.
    """
    if output_type == "pil":
        check_shown(pixels.shape[1])
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

    if isinstance(images, torch.Tensor):
        return images.float() * 2 - 1
    if isinstance(images, np.ndarray):
        return torch.from_numpy(images).permute(0, 3, 1, 2).float() * 2 - 1
    if isinstance(images, Image.Image):
        images = [images]
    check_shown(channels)
    mode = "L" if channels == 1 else "RGB"
    arrays = [np.asarray(image.convert(mode), dtype=np.float32) / 255 for image in images]
    shape = (len(arrays), *arrays[0].shape[:2], channels)
    return torch.from_numpy(np.stack(arrays).reshape(shape)).permute(0, 3, 1, 2) * 2 - 1


def save_png(image: Image.Image, manifest: Mapping[str, Any], path: Path) -> None:
    """Write a PNG with its manifest; whole or not at all, so an interrupt leaves no broken file."""
    info = PngInfo()
    info.add_itxt(KEYWORD, json.dumps(manifest, ensure_ascii=False))
    partial = path.with_name(f".{path.name}.part")
    try:
        image.save(partial, format="PNG", pnginfo=info)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_png(path: Path) -> tuple[Image.Image, dict[str, Any]]:
    """An image and its manifest.

    Raises:
        LdmError: no such file, no image, or an image without a manifest.
    """
    try:
        image = Image.open(path)
        image.load()
    except (OSError, UnidentifiedImageError) as error:
        reason = getattr(error, "strerror", None) or "it is no image"
        raise LdmError(f"{path} cannot be read: {reason}.") from None
    text = image.info.get(KEYWORD)
    try:
        manifest = json.loads(text) if text is not None else None
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise LdmError(
            f"{path} has no manifest inside, so it is not known how it was made.",
            "`ldm generate` writes one into every picture; some editors drop it on saving.",
        )
    return image, manifest


def free_path(folder: Path, stem: str) -> Path:
    """A file name made of these words that no file in the folder has yet."""
    slug = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:100] or "image"
    path = folder / f"{slug}.png"
    count = 1
    while path.exists():
        count += 1
        path = folder / f"{slug}-{count}.png"
    return path


def contact_sheet(images: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """All images on one white sheet, each with its caption; small ones are magnified.

    Args:
        images: of any sizes.
        captions: one for each.
    """
    cell, gap, line = 192, 12, 14
    columns = min(len(images), math.ceil(math.sqrt(len(images) * 1.5)))
    rows = math.ceil(len(images) / columns)
    texts = [textwrap.wrap(caption, width=30)[:3] for caption in captions]
    height = cell + line * max(len(text) for text in texts) + gap
    sheet = Image.new("RGB", (columns * (cell + gap) + gap, rows * (height + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (image, text) in enumerate(zip(images, texts, strict=True)):
        row, column = divmod(i, columns)
        left, top = gap + column * (cell + gap), gap + row * (height + gap)
        scale = cell / max(image.size)
        fitted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
        sheet.paste(image.resize(fitted, method), (left, top))
        draw.text((left, top + cell + 2), "\n".join(text), fill="black")
    return sheet
