"""The manifest as the comment of a video or sound file, in its tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.media.exif import START
from ldm_core.media.media_forms import form_of_media
from ldm_core.media.png_chunks import LONGEST

TAG = "comment"
"""The tag, in the words of FFmpeg and libsndfile."""


def comment_of(manifest: Mapping[str, Any]) -> str:
    """The text that a file gets: ASCII, as no program changes it."""
    return START + json.dumps(manifest)


def manifest_of(comment: str | None) -> str | None:
    """The manifest in a comment; None where there is none.

    Raises:
        ValueError: it is longer than `LONGEST`.
    """
    if comment is None or not comment.startswith(START):
        return None
    if len(comment) > LONGEST:
        raise ValueError(f"it has {len(comment)} letters, and at most {LONGEST} are read")
    return comment.removeprefix(START)


def tagged(path: Path) -> str | None:
    """The manifest in the tags of a video or sound file; None where the file is another one, or has
    none.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is broken, or too long.
        LdmError: what reads such files is not installed.
    """
    with path.open("rb") as file:
        form = form_of_media(file.read(64))
    if form is None:
        return None
    if form.kind == "video":
        from ldm_core.media.video_files import tags_of
    else:
        from ldm_core.media.sound_files import tags_of
    return manifest_of(tags_of(path, form))
