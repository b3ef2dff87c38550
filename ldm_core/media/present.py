"""The pictures that a folder holds already, by how they were made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ldm_core.contracts import Writer
from ldm_core.media.manifest import pixel_hash
from ldm_core.media.manifest_record import IN_TILES
from ldm_core.media.pictures import open_picture
from ldm_core.media.png import KEYWORD
from ldm_core.media.png_chunks import text_under

OF_PIXELS = "pixels_sha256"
"""What a manifest says of the pixels, which is known only once they are there."""


class Present:
    """What a folder holds, by all that its manifests say but the pixels.

    The folder is looked through when it is first asked. Of each file only the manifest is read; the
    pixels of one that is asked for are checked against it, so that what is torn or was changed does
    not count.

    Args:
        folder: which need not be there.
        writer: of the files.
        before: nanoseconds since the epoch; a file that was written later does not count, such as
            one of another run that is under way: each of the two has its own pictures.
    """

    def __init__(self, folder: Path, writer: Writer, before: int) -> None:
        self._folder = folder
        self._suffix = writer.suffix if writer.holds_manifest else f"{writer.suffix}.json"
        self._beside = not writer.holds_manifest
        self._before = before
        self._looked = False
        self._by_key: dict[bytes, list[Path]] = {}
        self._commands: list[Mapping[str, Any]] = []

    def path_of(self, manifest: Mapping[str, Any]) -> Path | None:
        """A whole file made as a manifest says; None where there is none."""
        self._look()
        key = _key(manifest)
        path = next((p for p in self._by_key.get(key, ()) if self._holds(p, key)), None)
        return None if path is None else self._file(path)

    def has_of(self, command: Mapping[str, Any]) -> bool:
        """Whether a file is there that this very command made, which manifests say that cannot be
        made again without it."""
        self._look()
        plain = json.loads(json.dumps(command))
        return any({**plain, "image": made.get("image")} == made for made in self._commands)

    def _look(self) -> None:
        """Read the manifests of all files, once."""
        if self._looked:
            return
        self._looked = True
        try:
            entries = [e for e in os.scandir(self._folder) if e.name.endswith(self._suffix)]
        except OSError:
            return
        for entry in sorted(entries, key=lambda entry: entry.name):
            manifest = self._manifest(Path(entry.path)) if self._counts(entry) else None
            if manifest is not None:
                self._by_key.setdefault(_key(manifest), []).append(Path(entry.path))
                if isinstance(command := manifest.get("command"), dict):
                    self._commands.append(command)

    def _counts(self, entry: os.DirEntry[str]) -> bool:
        """Whether an entry is a file that was there before."""
        try:
            return entry.is_file() and entry.stat().st_mtime_ns <= self._before
        except OSError:
            return False

    def _manifest(self, path: Path) -> dict[str, Any] | None:
        """The manifest of a file, as far as it can be read."""
        if not self._beside:
            return _manifest_in(path) if self._suffix == ".png" else None
        try:
            return _as_table(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None

    def _holds(self, path: Path, key: bytes) -> bool:
        """Whether a file, as it is now, has a manifest, and is whole."""
        manifest = self._manifest(path)
        return manifest is not None and _key(manifest) == key and self._is_whole(path)

    def _is_whole(self, path: Path) -> bool:
        # of two files, the manifest comes first, and the other one whole
        return self._file(path).is_file() if self._beside else is_whole(path)

    def _file(self, path: Path) -> Path:
        """The file whose manifest is here."""
        return path.with_suffix("") if self._beside else path


def is_whole(path: Path) -> bool:
    """Whether a PNG can be read to its end, and its pixels are those of its manifest."""
    return state(path) == "whole"


def state(path: Path) -> Literal["whole", "changed", "torn"]:
    """Whether a PNG is whole: ``changed`` where its pixels are not those of its manifest, ``torn``
    where it cannot be read to its end, or has no manifest."""
    try:
        manifest, pixels = _manifest_in(path), pixel_hash(open_picture(path))
    except MemoryError:
        raise
    except Exception:  # whatever the decoder makes of a damaged file
        return "torn"
    if manifest is None:
        return "torn"
    return "whole" if manifest.get(OF_PIXELS) in (None, pixels) else "changed"


def same_manifest(path: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether a PNG holds this manifest, whatever its pixels."""
    there = _manifest_in(path)
    return there is not None and _key(there) == _key(manifest)


def _manifest_in(path: Path) -> dict[str, Any] | None:
    """The manifest of a PNG, as far as it can be read."""
    try:
        return _as_table(text_under(path, KEYWORD) or "null")
    except (OSError, ValueError, RecursionError):
        return None


def _as_table(text: str) -> dict[str, Any] | None:
    table = json.loads(text)
    return table if isinstance(table, dict) else None


def _key(manifest: Mapping[str, Any]) -> bytes:
    """A manifest in short, without its pixels and what memory alone decides."""
    rest = {name: value for name, value in manifest.items() if name not in (OF_PIXELS, IN_TILES)}
    text = json.dumps(rest, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
