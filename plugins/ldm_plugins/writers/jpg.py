"""JPEG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Shown, writes
from ldm_core.media.encoded import LONGEST_IN_JPEG, write_jpeg


@writes("image", ".jpg", holds_manifest=True, longest_manifest=LONGEST_IN_JPEG, lossless=False)
def jpg(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
    """A picture as JPEG of quality 95, its colours in full resolution, its manifest inside, or
    beside where it is longer than 65,000 bytes. The pixels are not quite those that were drawn."""
    write_jpeg(shown.data, manifest, path)
