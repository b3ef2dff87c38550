"""Words of notes."""

from __future__ import annotations


def pictures_of(count: int) -> str:
    """As ``1 picture is`` or ``3 pictures are``."""
    return "1 picture is" if count == 1 else f"{count} pictures are"
