"""Videos and sounds as pictures: a strip of frames; waveform and spectrogram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageOps

from ldm_core.media.letters import legible_labels
from ldm_core.media.sheet import CELL

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

FRAMES = 8
"""That a strip shows at most, as far apart as they can be."""
GAP = 4
WIDTH = FRAMES * CELL // 2
WAVE, SPECTRUM = 96, 128
"""Heights in pixels."""
QUIETEST = 80.0
"""Decibels below the loudest that are shown as nothing."""
WINDOW = 1024
"""Samples of which one column of a spectrogram is made, at most."""


def thumbnail(kind: str, data: Any) -> Image.Image | None:
    """An entry of an output in small; None of a medium that nothing here shows.

    Args:
        data: as a writer gets it, see `ldm_core.contracts.Shown`.
    """
    if kind == "image":
        small: Image.Image = data.copy()
        small.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
        return small
    if kind == "video":
        return strip(data)
    return sound_picture(data) if kind == "audio" else None


def strip(frames: Sequence[Image.Image], most: int = FRAMES) -> Image.Image:
    """Frames of a video side by side, the first and the last among them."""
    count = min(len(frames), most)
    places = [round(i * (len(frames) - 1) / max(count - 1, 1)) for i in range(count)]
    scale = CELL / max(frames[0].size)
    size = (max(1, round(frames[0].width * scale)), max(1, round(frames[0].height * scale)))
    method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    whole = Image.new("RGB", (count * (size[0] + GAP) - GAP, size[1]), "white")
    for index, place in enumerate(places):
        whole.paste(frames[place].convert("RGB").resize(size, method), (index * (size[0] + GAP), 0))
    return whole


def sound_picture(samples: Array) -> Image.Image:
    """The waveform of a sound, and beneath it its spectrogram, low tones at the bottom.

    Args:
        samples: (channels, samples); the picture is of their mean over the channels.
    """
    import numpy as np

    mono = np.nan_to_num(np.asarray(samples, dtype=np.float64)).mean(axis=0)
    whole = Image.new("RGB", (WIDTH, WAVE + GAP + SPECTRUM), "white")
    draw = ImageDraw.Draw(whole)
    edges = np.linspace(0, len(mono), WIDTH + 1).astype(int)
    half = (WAVE - 1) / 2
    for x, (begin, end) in enumerate(pairwise(edges)):
        part = mono[begin : max(end, begin + 1)].clip(-1, 1)
        if len(part):
            top, bottom = half - float(part.max()) * half, half - float(part.min()) * half
            draw.line([(x, round(top)), (x, round(bottom))], fill="#2060a0")
    whole.paste(_spectrogram(mono), (0, WAVE + GAP))
    return whole


def _spectrogram(mono: Array) -> Image.Image:
    """Power over time and frequency, in decibels below the loudest."""
    import numpy as np
    from scipy.signal import spectrogram

    window = min(WINDOW, len(mono))
    if window < 8:
        return Image.new("RGB", (WIDTH, SPECTRUM), "black")
    _, _, power = spectrogram(mono, nperseg=window, noverlap=window // 2)
    loudest = max(float(power.max()), 1e-20)
    decibels = 10 * np.log10(np.maximum(power / loudest, 10 ** (-QUIETEST / 10)))
    grey = ((decibels / QUIETEST + 1) * 255).round().astype(np.uint8)[::-1]
    large = Image.fromarray(np.ascontiguousarray(grey)).resize(
        (WIDTH, SPECTRUM), Image.Resampling.BILINEAR
    )
    return ImageOps.colorize(large, "black", "#fff0a0", mid="#c03060")


def picture_of(data: Any) -> Image.Image:
    """An entry of an output as one picture, as large as it is.

    Args:
        data: a PIL image; the frames of a video; or the samples of a sound, (channels, samples).
    """
    if isinstance(data, Image.Image):
        return data
    return strip(data) if isinstance(data, list) else sound_picture(data)


def as_grid(pictures: Sequence[Image.Image], most: int) -> Image.Image:
    """Pictures side by side in rows, as many as columns or fewer; one alone as it is.

    Args:
        most: pixels a side; a larger whole is made smaller.
    """
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    across, down = columns * (width + GAP) - GAP, rows * (height + GAP) - GAP
    scale = min(1.0, most / max(across, down))
    cell = (max(1, int(width * scale)), max(1, int(height * scale)))
    size = (columns * (cell[0] + GAP) - GAP, rows * (cell[1] + GAP) - GAP)
    whole = Image.new("RGB", size, "white")
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        one = picture.convert("RGB")
        one.thumbnail(cell, Image.Resampling.LANCZOS)
        whole.paste(one, (column * (cell[0] + GAP), row * (cell[1] + GAP)))
    return whole


def one_size(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """Pictures on white of the size of the largest."""
    size = max(p.width for p in pictures), max(p.height for p in pictures)
    whole = []
    for picture in pictures:
        sheet = Image.new("RGB", size, "white")
        sheet.paste(picture, (0, 0))
        whole.append(sheet if picture.size != size else picture)
    return whole


def strip_sheet(strips: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """Strips one above the other on white, each over its caption. Of letters that its font lacks,
    it warns."""
    gap, line = 12, 16
    captions = legible_labels(captions)
    width = max(one.width for one in strips) + 2 * gap
    heights = [one.height + line + gap for one in strips]
    sheet = Image.new("RGB", (width, sum(heights) + gap), "white")
    draw, top = ImageDraw.Draw(sheet), gap
    for one, caption, height in zip(strips, captions, heights, strict=True):
        sheet.paste(one, (gap, top))
        text = caption if len(caption) <= width // 7 else f"{caption[: width // 7 - 1]}…"
        draw.text((gap, top + one.height + 2), text, fill="black")
        top += height
    return sheet
