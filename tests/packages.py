"""Plugin packages laid out in a folder as pip would install them, wrong ones among them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path


def install(
    folder: Path,
    name: str,
    version: str = "1.0",
    modules: Mapping[str, str] | None = None,
    entry_points: Mapping[str, Mapping[str, str]] | None = None,
    *,
    metadata: str | None = None,
    record: str | None = None,
) -> Path:
    """Lay out a distribution, so that a process finds it which has the folder on its path.

    Args:
        folder: takes its files; made where it is not there.
        modules: the text of each file, by its path in the folder, as ``pkg/__init__.py``.
        entry_points: by group, as ``{"ldm": {"mine": "pkg.plugin"}}``.
        metadata: the text of its ``METADATA`` in place of one with name and version; an empty one
            leaves the file out.
        record: the text of its ``RECORD`` in place of a true one; an empty one leaves it out.
    Returns:
        The folder with its metadata.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for path, text in (modules or {}).items():
        files[path] = text
    home = f"{name.replace('-', '_')}-{version}.dist-info"
    if metadata is None:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if metadata:
        files[f"{home}/METADATA"] = metadata
    files[f"{home}/INSTALLER"] = "pip\n"
    if entry_points:
        files[f"{home}/entry_points.txt"] = "\n".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
            for group, entries in entry_points.items()
        )
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    if record is None:
        lines = [
            f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in files.items()
        ]
        record = "\n".join([*lines, f"{home}/RECORD,,", ""])
    if record:
        (folder / home / "RECORD").write_text(record)
    return folder / home


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
