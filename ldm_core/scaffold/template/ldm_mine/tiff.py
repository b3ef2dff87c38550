"""A writer: it writes files of what is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Shown, writes


@writes("image", ".tif")
def tiff(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
    """A picture as TIFF, without loss; its manifest lies beside it."""
    shown.data.save(path, format="TIFF")
