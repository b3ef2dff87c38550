"""Pictures as sixels, which many terminals draw: bands of six rows, colour by colour.

Source: DEC STD 070-00, "Video Systems Reference Manual", chapter 9 (Sixel graphics).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

COLOURS = 256
HIGH = 6
"""Rows of a band."""
FIRST = 63
"""The letter of a column of a band in which no pixel has the colour."""
RUN = re.compile(r"(.)\1{3,}")
"""Letters that are said once with their number."""


def as_sixel(image: Image.Image) -> str:
    """A picture as sixels, in at most `COLOURS` colours; it is drawn where the cursor is."""
    small = image.convert("RGB").quantize(COLOURS)
    pixels = np.asarray(small)
    palette = small.getpalette() or []
    used = [int(colour) for colour in np.unique(pixels)]
    said = "".join(_colour(one, palette[3 * one : 3 * one + 3]) for one in used)
    bands = "-".join("$".join(_band(pixels[at : at + HIGH])) for at in range(0, len(pixels), HIGH))
    return f'\x1bP0;1;0q"1;1;{image.width};{image.height}{said}{bands}\x1b\\'


def _colour(number: int, rgb: list[int]) -> str:
    """The definition of a colour, whose parts are hundredths."""
    return f"#{number};2;{';'.join(str(round(part * 100 / 255)) for part in rgb)}"


def _band(rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> Iterator[str]:
    """Six rows, or fewer, a line of letters for each colour that is in them: of a letter each bit
    is a row, the lowest one the first."""
    weights = 1 << np.arange(len(rows))
    for colour in np.unique(rows):
        letters = (FIRST + weights @ (rows == colour)).astype(np.uint8)
        line = letters.tobytes().decode("ascii").rstrip(chr(FIRST))
        yield f"#{colour}{RUN.sub(lambda run: f'!{len(run[0])}{run[1]}', line)}"
