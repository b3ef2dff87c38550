"""GIF."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Shown, writes
from ldm_core.media.animations import write_gif
from ldm_core.media.timed import said_rate


@writes("video", ".gif", lossless=False)
def gif(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
    """A video as GIF, each frame in 256 colours, times in hundredths of a second, its manifest
    beside. It holds no sound."""
    write_gif(shown.data, said_rate(shown.rate), path)
