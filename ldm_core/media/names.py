"""Names of new files, which no other writer has."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

LONGEST = 100
"""Letters of a name before its number and suffix."""


def write_new(
    folder: Path, stem: str, suffix: str, write: Callable[[Path], None], *, ending: str = ""
) -> Path:
    """Write a file under a name made of these words that no file in the folder has, whole or not
    at all; of two writers, in one process or several, neither loses its file.

    Args:
        stem: words, which are cut where they are many.
        ending: of the name before the suffix, which is kept whole, such as ``-seed7``.
        write: ``write(path)`` writes it under a name for the time being.
    Returns:
        The path that it then has.
    """
    partial = folder / f".{secrets.token_hex(8)}.part"
    try:
        write(partial)
        for path in _candidates(folder, _name(stem, ending), suffix):
            try:
                _take(partial, path)
            except FileExistsError:
                continue
            return path
        raise AssertionError("there are names without end")
    finally:
        partial.unlink(missing_ok=True)


def _take(partial: Path, path: Path) -> None:
    """Give a file a name, unless one has it."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        path.open("x").close()
        os.replace(partial, path)


def _name(stem: str, ending: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    words = words[: max(LONGEST - len(ending), 0)].rstrip("-")
    return f"{words}{ending}".lstrip("-") or "image"


def _candidates(folder: Path, name: str, suffix: str) -> Iterator[Path]:
    yield folder / f"{name}{suffix}"
    count = 1
    while True:
        count += 1
        yield folder / f"{name}-{count}{suffix}"
