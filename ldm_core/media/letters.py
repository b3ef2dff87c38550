"""Which letters the font has in which pictures are labelled: Pillow's own, which is there wherever
Pillow is, and has few that English does not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache

from PIL import ImageFont

from ldm_core.errors import LdmWarning

NONE = "\uffff"
"""What no font has, for which the one shows what it shows for all that it lacks."""


def legible(text: str) -> str:
    """A text with a question mark for each letter that the font does not have."""
    return "".join(letter if _has(letter) else "?" for letter in text)


def legible_labels(labels: Sequence[str]) -> list[str]:
    """Labels as they can be written; one with letters that the font does not have begins with its
    number among all of them, which keeps it apart from others, and a warning says so."""
    shown = [legible(label) for label in labels]
    lost = [at for at, label in enumerate(labels) if shown[at] != label]
    if lost:
        one = f"the font of contact sheets lacks letters of '{labels[lost[0]]}'"
        more = f" and of {len(lost) - 1} more" if len(lost) > 1 else ""
        warnings.warn(
            LdmWarning(f"{one}{more}: each is a ? there, and the label has its number, as "
                       f"'{lost[0] + 1}: {shown[lost[0]]}'"),
            stacklevel=2,
        )  # fmt: skip
    return [f"{at + 1}: {text}" if at in lost else text for at, text in enumerate(shown)]


@cache
def _has(letter: str) -> bool:
    return letter in " \t\n" or _picture(letter) != _picture(NONE)


@cache
def _picture(letter: str) -> tuple[tuple[int, int], bytes]:
    mask = ImageFont.load_default().getmask(letter)
    return mask.size, bytes(mask)
