"""MP4."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Shown, writes
from ldm_core.media.video_writing import MP4, write_video


@writes(
    "video",
    ".mp4",
    holds_manifest=True,
    lossless=False,
    beside=("audio",),
    needs=("av",),
    extra="video",
    first=True,
)
def mp4(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
    """A video as MP4, H.264 of quality 16 (CRF) in the colours of BT.709, its sound as AAC, its
    manifest as the comment. The pixels and samples are not quite those that were drawn.

    Needs the extra: pip install 'ldm-core[video]'.
    """
    write_video(shown, manifest, path, MP4)
