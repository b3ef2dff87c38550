"""What media are called in messages."""

from __future__ import annotations

NOUNS = {"image": "picture", "video": "video", "audio": "sound"}
"""By their kinds; another kind is called as it is."""


def noun(kind: str, count: int = 1) -> str:
    """A medium of this kind in words, or several: ``picture``, ``pictures``."""
    one = NOUNS.get(kind, kind)
    return one if count == 1 else f"{one}s"
