"""Pixels as PIL images, arrays and PNG files with their manifest inside."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import Tensor

OUTPUT_TYPES = ("pil", "np", "pt", "latent")
KEYWORD = "ldm"
"""The PNG text chunk that holds a manifest."""


def from_pixels(pixels: Tensor, output_type: str) -> Any:
    """Decoder output as the caller wants it.

    Args:
        pixels: (batch, 3, height, width) in about [-1, 1].
        output_type: ``pil`` (a list of images), ``np`` (batch, height, width, 3) or ``pt``
            (batch, 3, height, width), the last two float32 in [0, 1].
    """
    unit = (pixels / 2 + 0.5).clamp(0, 1).cpu().float()
    if output_type == "pt":
        return unit
    array = unit.permute(0, 2, 3, 1).numpy()
    if output_type == "np":
        return array
    return [Image.fromarray(picture) for picture in (array * 255).round().astype("uint8")]


def to_pixels(images: Any) -> Tensor:
    """PIL images, or an array (batch, height, width, 3) or tensor (batch, 3, height, width) in
    [0, 1], as pixels in [-1, 1]; the inverse of `from_pixels`."""
    import numpy as np
    import torch

    if isinstance(images, torch.Tensor):
        return images.float() * 2 - 1
    if isinstance(images, np.ndarray):
        return torch.from_numpy(images).permute(0, 3, 1, 2).float() * 2 - 1
    if isinstance(images, Image.Image):
        images = [images]
    arrays = [np.asarray(image.convert("RGB"), dtype=np.float32) / 255 for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) * 2 - 1


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


def free_path(folder: Path, words: str, seed: int) -> Path:
    """A readable file name that no file in the folder has yet."""
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:80] or "image"
    path = folder / f"{slug}-seed{seed}.png"
    count = 1
    while path.exists():
        count += 1
        path = folder / f"{slug}-seed{seed}-{count}.png"
    return path


def contact_sheet(images: Sequence[Image.Image], columns: int, gap: int = 8) -> Image.Image:
    """Images of one size in rows on a white sheet."""
    width, height = images[0].size
    rows = -(-len(images) // columns)
    size = (columns * (width + gap) + gap, rows * (height + gap) + gap)
    sheet = Image.new("RGB", size, "white")
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        sheet.paste(image, (gap + column * (width + gap), gap + row * (height + gap)))
    return sheet
