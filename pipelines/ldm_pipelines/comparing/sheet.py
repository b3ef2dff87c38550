"""A page of a comparison as one picture, with the axes' values beside the cells."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from ldm_core.contracts import Extent
from ldm_core.media.letters import legible
from ldm_core.media.sheet import CELL
from ldm_core.media.strips import thumbnail
from ldm_pipelines.comparing.cells import Plan
from ldm_pipelines.comparing.comparison import Cell, Shot
from ldm_pipelines.comparing.layout import Page, cost, head_text

GAP, SIDE, LINE = 12, 220, 15
"""Pixels between cells, of the labels beside rows at most, and of a line of text."""
LETTER = 6.4
"""Pixels of a letter in the mean, by which texts are wrapped."""
WIDEST = 2 * CELL
"""Of a strip of frames or a sound."""
REASON, GREY, INK, FAINT = "#a02020", "#f2f0ee", "#202020", "#606060"


def draw_page(page: Page) -> Image.Image:
    """A sheet with the first axis down and the second across."""
    small = [[_small(shot) for _, shot in row] for row in page.grid]
    there = [one for row in small for one in row if one is not None]
    width = max([CELL, *(one.width for one in there)])
    height = max([one.height for one in there], default=CELL // 2)
    names = [head_text(page.down, at) for at in range(len(small))]
    longest = max(map(len, names))
    side = min(SIDE, round(longest * LETTER) + GAP) if longest else 0
    heads = [_wrapped(head_text(page.across, at), width, 3) for at in range(len(small[0]))]
    title = _wrapped(page.title, side + len(small[0]) * (width + GAP), 4) if page.title else []
    top = GAP + len(title) * LINE + (6 if title else 0)
    below = top + max(map(len, heads)) * LINE + 4
    notes = max(len(cost(shot)) for row in page.grid for _, shot in row)
    each = height + notes * LINE + GAP
    whole = (GAP + side + len(heads) * (width + GAP), below + len(small) * each)
    sheet = Image.new("RGB", whole, "white")
    pen = _Pen(sheet)
    pen.write((GAP, GAP), title)
    for column, head in enumerate(heads):
        pen.write((GAP + side + column * (width + GAP), top), head)
    for row, shown in enumerate(page.grid):
        y = below + row * each
        if side:
            pen.write((GAP, y), _wrapped(names[row], side - GAP, height // LINE))
        for column, (cell, shot) in enumerate(shown):
            x, one = GAP + side + column * (width + GAP), small[row][column]
            if one is None:
                pen.refuse((x, y, x + width, y + height), _reason(cell, shot))
            else:
                sheet.paste(one, (x, y))
            pen.write((x, y + height + 2), cost(shot), FAINT)
    return sheet


def least_size(plan: Plan, extent: Extent) -> tuple[int, int]:
    """Width and height that each sheet of a comparison has at least: labels beside may add to it.

    Args:
        extent: of a picture; where it has no width or height, one pixel is counted.
    """
    sizes = [len(one.values) for one in plan.axes] + [plan.of_each] * (plan.of_each > 1)
    rows, columns = sizes[:2] if len(sizes) > 1 else (1, sizes[0])
    sides = [extent.get(name, 0) for name in ("width", "height")]
    tall = int(CELL * sides[1] / max(sides)) if min(sides) else 1
    return GAP + columns * (CELL + GAP), GAP + rows * (max(1, tall) + LINE + GAP)


class _Pen:
    """Writes on a sheet in Pillow's own font."""

    def __init__(self, sheet: Image.Image) -> None:
        self._draw = ImageDraw.Draw(sheet)
        self._font = ImageFont.load_default(12)

    def write(self, place: tuple[int, int], lines: Sequence[str], ink: str = INK) -> None:
        """Lines of text, of which letters that the font does not have are question marks."""
        for at, line in enumerate(lines):
            where = place[0], place[1] + at * LINE
            self._draw.text(where, legible(line), fill=ink, font=self._font)

    def refuse(self, box: tuple[int, int, int, int], reason: str) -> None:
        """A cell without a picture, with the reason."""
        self._draw.rectangle(box, fill=GREY, outline="#d0ccc8")
        width, height = box[2] - box[0] - 12, box[3] - box[1] - 10
        lines = ["refused:", *_wrapped(reason, width, max(1, height // LINE - 1))]
        self.write((box[0] + 6, box[1] + 5), lines, REASON)


def _reason(cell: Cell, shot: Shot) -> str:
    return shot.error or cell.refused


def _wrapped(text: str, width: float, most: int) -> list[str]:
    """A text in lines of at most so many pixels; what is left out of it is three dots."""
    return textwrap.wrap(
        text, max(8, int(width / LETTER)), max_lines=max(1, most), placeholder=" ..."
    )


def _small(shot: Shot) -> Image.Image | None:
    """A picture as a sheet shows it: of a cell's size, small ones magnified; None where there is
    none."""
    if shot.path is None:
        return None
    one = thumbnail(shot.kind, shot.data())
    if one is None:
        return None
    one = one.convert("RGB")
    most = CELL if shot.kind == "image" else WIDEST
    scale = most / max(one.size)
    size = (max(1, round(one.width * scale)), max(1, round(one.height * scale)))
    method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    return one.resize(size, method)
