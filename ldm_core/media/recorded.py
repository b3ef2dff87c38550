"""How a picture was made, as another program wrote it into the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recorded:
    """What a program says of a picture of its own; what it does not say is None.

    Attributes:
        program: such as ``A1111``.
        sampler: by the program's name, as are ``schedule`` and ``model``.
        more: all else that it says, by its names.
        clip_skip: the layer of the CLIP text encoders that is read, counted from their end, where
            1 is the last.
        unread: why nothing but the program is known, where that is so.
    """

    program: str
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    steps: int | None = None
    scale: float | None = None
    width: int | None = None
    height: int | None = None
    sampler: str | None = None
    schedule: str | None = None
    model: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    unread: str = ""
    clip_skip: int | None = None


LARGEST = 2**63
"""Whole numbers lie below."""


def whole(text: object, least: int = 0) -> int | None:
    """A whole number that is written in text or JSON, within what a manifest holds; else None."""
    if isinstance(text, bool) or not isinstance(text, int | str):
        return None
    if isinstance(text, str) and not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    number = int(text)
    return number if least <= number < LARGEST else None


def real(text: object) -> float | None:
    """A finite number that is written in text or JSON, of a size that a scale has; else None."""
    if isinstance(text, bool) or not isinstance(text, int | float | str) or len(str(text)) > 40:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e6 else None
