"""WAV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Shown, writes
from ldm_core.media.sound_files import write_sound


@writes("audio", ".wav", holds_manifest=True, needs=("soundfile",), extra="sound")
def wav(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
    """A sound as WAV of 24 bits, without loss beyond their rounding, its manifest as the comment of
    its INFO list.

    Needs the extra: pip install 'ldm-core[sound]'.
    """
    write_sound(shown, manifest, path, "WAV")
