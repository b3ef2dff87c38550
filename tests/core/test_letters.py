"""What contact sheets say of letters that their font lacks."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFont

from ldm_core.errors import LdmWarning
from ldm_core.media.letters import legible
from ldm_core.media.sheet import CELL, contact_sheet
from ldm_core.media.strips import strip_sheet

RED, GREEN = "\u7ea2\u8272\u7684\u5706", "\u7eff\u8272\u7684\u5706"
"""A red circle and a green one, in four letters each."""


def test_a_letter_is_legible_where_the_font_file_maps_it() -> None:
    ttf = pytest.importorskip("fontTools.ttLib")
    file: Any = ImageFont.load_default().path  # type: ignore[union-attr]
    there = ttf.TTFont(BytesIO(file.getvalue())).getBestCmap()
    several = [chr(code) for code in [*range(33, 0x180), *range(0x2010, 0x2130), 0x416, 0x7EA2]]
    shown = [code for code in several if ord(code) in there and code.isprintable()]
    lacking = [code for code in several if ord(code) not in there]
    assert len(shown) > 90
    assert len(lacking) > 300
    assert legible("".join(shown)) == "".join(shown)
    assert legible("".join(lacking)) == "?" * len(lacking)
    assert legible("a b\nc") == "a b\nc"


@pytest.mark.parametrize("join", [contact_sheet, strip_sheet])
def test_captions_in_other_letters_are_apart_and_said(join: Any) -> None:
    with pytest.warns(LdmWarning, match=rf"'{RED}' and of 1 more: .* as '1: \?\?\?\?'"):
        sheet = join([Image.new("RGB", (CELL, CELL), "blue")] * 2, [RED, GREEN])
    pixels = np.asarray(sheet.convert("L"))
    along = (pixels if join is strip_sheet else pixels.T)[12:]  # one above the other, or beside
    one, other = np.split(along, 2)
    assert (one != other).any()


def test_nothing_is_said_of_letters_that_are_there() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        contact_sheet([Image.new("RGB", (8, 8))], ["a red circle"])


def test_generate_says_which_captions_are_none(ldm: Any, folder: Any) -> None:
    run = ("generate", RED, GREEN, "--model", folder, "--steps", 1, "--sheet", "s.png")
    code, _, err = ldm(*run)
    assert code == 0
    assert f"lacks letters of '{RED}' and of 1 more" in " ".join(err.split())


def test_compare_says_which_labels_are_none(ldm: Any, folder: Any) -> None:
    run = ("compare", "--model", folder, "--over", f"prompt={RED},{GREEN}", "--over", "steps=1")
    code, _, err = ldm(*run, "--sheet", "s.png")
    assert code == 0
    assert f"lacks letters of '{RED}' and of 1 more" in " ".join(err.split())
    labels = np.asarray(Image.open("s.png").convert("L"))[:, :100] < 128
    first = np.flatnonzero(labels.any(1))
    tops = first[0], first[first > first[0] + CELL][0]  # a row of the sheet is a cell high and more
    one, other = (labels[top : top + 60] for top in tops)
    assert (one != other).any()
