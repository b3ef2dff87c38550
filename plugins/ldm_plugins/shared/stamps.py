"""Whether files are still those that something was read from."""

from __future__ import annotations

from pathlib import Path

Stamps = tuple[tuple[Path, int, int, int], ...]


def stamps(path: Path) -> Stamps:
    """A file, or all files of a component's folder, each with its size and the times of its last
    changes, as a key of what is kept: config and tokenizer count as the weights do.

    Raises:
        OSError: there is none.
    """
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    about = [(file, file.stat()) for file in files]
    return tuple((file, a.st_size, a.st_mtime_ns, a.st_ctime_ns) for file, a in about)
