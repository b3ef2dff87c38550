"""The files in a folder, and in folders within it."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from ldm_core.contracts.files import walked


def files_under(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files whose names end so, in small letters or capitals, in their order; links to folders
    are not followed. A folder of millions of files is looked through in seconds.

    Args:
        suffixes: in small letters, such as ``.png``.

    Raises:
        OSError: one of the folders cannot be looked into.
    """
    return sorted(
        Path(top, name)
        for top, _, names in walked(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in suffixes
    )
