"""The pictures that a folder holds already, by how they were made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ldm_core.contracts import Writer
from ldm_core.media.exif import ENCODED, encoded_hash, is_lossy
from ldm_core.media.hashes import OF_PIXELS, OF_SAMPLES, pixel_hash
from ldm_core.media.made_files import is_as_written, kind_of_file
from ldm_core.media.manifest_record import IMPORTED, IN_TILES, RATE
from ldm_core.media.picture_manifests import manifest_in
from ldm_core.media.pictures import open_picture

PICTURES = (".png", ".webp", ".jpg", ".jpeg")
"""Files that are read to their end, by their suffix."""


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
        self._suffix = writer.suffix
        self._before = before
        self._looked = False
        self._by_key: dict[bytes, list[Path]] = {}
        self._commands: list[Mapping[str, Any]] = []

    def path_of(self, manifest: Mapping[str, Any]) -> Path | None:
        """A whole file made as a manifest says; None where there is none."""
        self._look()
        key = _key(manifest)
        return next((p for p in self._by_key.get(key, ()) if _holds(p, key)), None)

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
            manifest = manifest_in(Path(entry.path)) if self._counts(entry) else None
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


def _holds(path: Path, key: bytes) -> bool:
    """Whether a file, as it is now, has a manifest, and is whole."""
    manifest = manifest_in(path)
    return manifest is not None and _key(manifest) == key and is_whole(path)


def is_whole(path: Path) -> bool:
    """Whether a file is what its manifest says; see `state`."""
    return state(path) == "whole"


def state(path: Path) -> Literal["whole", "changed", "torn"]:
    """Whether a file is whole: ``changed`` where a picture's pixels, or what its file holds beside
    the manifest, are not those of its manifest; ``torn`` where it cannot be read to its end, or has
    no manifest.

    Of a video or sound that is stored with loss it is seen that it can be read, and how many
    frames it has. Of a file of another format, whose manifest lies beside it, nothing more is
    known: of the two the manifest comes first, and the other one whole. Of a picture stored with
    loss whose manifest has no hash of the file, because it lies beside it, the pixels are read and
    not compared.
    """
    manifest = manifest_in(path)
    try:
        if manifest is None:
            return "torn"
        if ENCODED in manifest:
            same = manifest[ENCODED] == encoded_hash(path.read_bytes())
            return "whole" if same else _changed(path)
        if kind_of_file(path) in ("video", "audio"):
            return "whole" if is_as_written(path, manifest) else "changed"
        if path.suffix not in PICTURES:
            return "whole" if path.is_file() else "torn"
        pixels = pixel_hash(open_picture(path))
        compared = manifest.get(OF_PIXELS) is not None and not is_lossy(path)
    except MemoryError:
        raise
    except Exception:  # whatever the decoder makes of a damaged file
        return "torn"
    return "changed" if compared and manifest[OF_PIXELS] != pixels else "whole"


def _changed(path: Path) -> Literal["changed", "torn"]:
    open_picture(path)
    return "changed"


def same_manifest(path: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether a picture has this manifest, whatever its pixels."""
    return same_made(manifest_in(path), manifest)


def same_made(there: Mapping[str, Any] | None, manifest: Mapping[str, Any]) -> bool:
    """Whether two manifests say the same of how a picture is made."""
    return there is not None and _key(there) == _key(manifest)


def _key(manifest: Mapping[str, Any]) -> bytes:
    """A manifest in short, without what it says of the file, what memory alone decides, and the
    packages beside."""
    beside = (OF_PIXELS, OF_SAMPLES, RATE, ENCODED, IN_TILES, IMPORTED)
    rest = {n: v for n, v in manifest.items() if n not in beside}
    text = json.dumps(rest, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
