"""Where a user's own files lie that can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Where something is kept that can be made again: a folder under ``~/.cache/ldm``, or under
    ``XDG_CACHE_HOME``.

    Raises:
        RuntimeError: the user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path("~").expanduser() / ".cache"
    return home / "ldm" / name
