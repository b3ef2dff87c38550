"""Hashes of large files, kept from one start to the next.

To hash the weights of a model takes a processor about as long as to read them: two seconds for
4 GB, twenty for 24. What is kept of a file holds while its device, number, size and both of its
times are the same. The system sets one of these times, that of the last
change, by itself, and no program can set it back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ldm_core.cache import cache_folder

LARGE = 2**26
"""Bytes from which on a file's hash is kept; smaller ones are hashed in no time."""
SETTLED = 2.0
"""Seconds since a file's last change after which its hash is kept: another change within the same
tick of the system's clock would leave its times as they are."""
HASH = re.compile(r"[0-9a-f]{64}")


def kept_hash(file: Path, hashed: Callable[[Path], str]) -> str:
    """The SHA-256 of a file's contents: as it is kept, or computed, and then kept.

    Where it cannot be kept, as in a home that cannot be written to, it is computed each time.

    Args:
        hashed: computes it.
    """
    before = _state(file)
    if before["size"] < LARGE:
        return hashed(file)
    try:
        place = cache_folder("hashes") / hashlib.sha256(os.fsencode(file.resolve())).hexdigest()
    except RuntimeError:  # there is no home
        return hashed(file)
    with suppress(OSError, ValueError):
        kept = json.loads(place.read_bytes())
        sha256 = kept.pop("sha256", None) if isinstance(kept, dict) else None
        if kept == before and isinstance(sha256, str) and HASH.fullmatch(sha256):
            return sha256
    sha256 = hashed(file)
    changed = max(before["mtime_ns"], before["ctime_ns"]) / 1e9
    if _state(file) == before and time.time() - changed > SETTLED:
        with suppress(OSError):
            _keep(place, {**before, "sha256": sha256})
    return sha256


def _state(file: Path) -> dict[str, int]:
    about = file.stat()
    return {
        "device": about.st_dev,
        "number": about.st_ino,
        "size": about.st_size,
        "mtime_ns": about.st_mtime_ns,
        "ctime_ns": about.st_ctime_ns,
    }


def _keep(place: Path, content: dict[str, int | str]) -> None:
    """Write it whole or not at all, several processes at once too."""
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(content))
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
