"""Animated WebP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Shown, writes
from ldm_core.media.animations import write_animated_webp
from ldm_core.media.timed import said_rate


@writes("video", ".webp", holds_manifest=True)
def webp_animation(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
    """A video as an animated WebP, without loss, its manifest inside. It holds no sound, and times
    in whole milliseconds."""
    write_animated_webp(shown.data, said_rate(shown.rate), manifest, path)
