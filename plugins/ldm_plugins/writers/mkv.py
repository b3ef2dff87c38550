"""Matroska without loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Shown, writes
from ldm_core.media.video_writing import MATROSKA, write_video


@writes("video", ".mkv", holds_manifest=True, beside=("audio",), needs=("av",), extra="video")
def mkv(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
    """A video as Matroska without loss: FFV1 (RFC 9043), its sound as float32, its manifest as the
    comment.

    Needs the extra: pip install 'ldm-core[video]'.
    """
    write_video(shown, manifest, path, MATROSKA)
