"""A writer: the plainest of picture files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Shown, writes


@writes("image", ".ppm")
def ppm(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
    """A picture as a portable pixmap, without loss; its manifest lies beside it."""
    shown.data.convert("RGB").save(path, format="PPM")
