"""What Pillow reads and writes, and within which bounds, kept as it was while plugin modules are
imported. A format that is new may stay."""

from __future__ import annotations

import sys
from typing import Any

from ldm_core.plugins.looked_at import are_identical

TABLES = ("OPEN", "SAVE", "SAVE_ALL", "EXTENSION", "MIME", "DECODERS", "ENCODERS")
"""Of `PIL.Image`: what reads and writes each format."""
CHUNK = 2**20
BOUNDS = {
    ("PIL.Image", "MAX_IMAGE_PIXELS"): 2**30 // 4 // 3,
    ("PIL.ImageFile", "LOAD_TRUNCATED_IMAGES"): False,
    ("PIL.PngImagePlugin", "MAX_TEXT_CHUNK"): CHUNK,
    ("PIL.PngImagePlugin", "MAX_TEXT_MEMORY"): 64 * CHUNK,
}
"""What Pillow refuses, as it does by itself."""


class PictureLibrary:
    """Pillow's tables and bounds as they were when this was made, or the bounds as Pillow has them
    where it was not imported yet. It is not imported for it."""

    def __init__(self) -> None:
        self._tables = {name: dict(table) for name, table in _tables().items()}
        self._bounds = {place: there[place[1]] for place, there in _bounds().items()}

    def put_back(self, changed: list[str]) -> None:
        """Have them as they were, and say what was not."""
        for name, table in _tables().items():
            before = self._tables.get(name, {})
            if any(table.get(key) is not value for key, value in before.items()):
                changed.append(f"what Pillow reads and writes ({name})")
                table.update(before)
        for place, there in _bounds().items():
            before_it = self._bounds.get(place, BOUNDS[place])
            if not are_identical(there[place[1]], before_it):
                changed.append(f"what Pillow refuses ({place[1]})")
                there[place[1]] = before_it


def _tables() -> dict[str, dict[Any, Any]]:
    pillow = sys.modules.get("PIL.Image")
    return {} if pillow is None else {name: vars(pillow)[name] for name in TABLES}


def _bounds() -> dict[tuple[str, str], dict[str, Any]]:
    """Where each of the bounds is."""
    return {place: vars(sys.modules[place[0]]) for place in BOUNDS if place[0] in sys.modules}
