"""PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Shown, writes
from ldm_core.media.png import write_png


@writes("image", ".png", holds_manifest=True)
def png(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
    """A picture as PNG, without loss, its manifest inside."""
    write_png(shown.data, manifest, path)
