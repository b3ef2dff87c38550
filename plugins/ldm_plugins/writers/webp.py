"""WebP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Shown, writes
from ldm_core.media.encoded import write_webp


@writes("image", ".webp", holds_manifest=True)
def webp(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
    """A picture as WebP, without loss, its manifest inside."""
    write_webp(shown.data, manifest, path)
