"""The files of a job's pictures: each under the one name that its line gives it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Shown, Writer
from ldm_core.errors import LdmError
from ldm_core.jobs.batching import Picture
from ldm_core.jobs.placing import without_place
from ldm_core.media.json_text import json_text
from ldm_core.media.names import write_named
from ldm_core.media.partial import names_to_disk, sweep
from ldm_core.media.picture_manifests import BESIDE, manifest_in
from ldm_core.media.present import is_whole, same_made
from ldm_core.plugins.registry import installed

if TYPE_CHECKING:
    from ldm_core.jobs.claims import Claims
    from ldm_core.jobs.ledger import Ledger


@dataclass(frozen=True)
class Written:
    """A file that is on disk.

    Attributes:
        file: its path in the job's folder.
        sha256: of its bytes.
        tar: the archive in the job's folder that it is moved into once its shard is done.
        member: its name there.
    """

    file: str
    sha256: str
    tar: str | None = None
    member: str | None = None


@dataclass(frozen=True)
class Entry:
    """What is to be written of a picture, and what belongs to it."""

    shown: Shown
    manifest: Mapping[str, Any]
    beside: tuple[tuple[Writer, Shown], ...] = ()


class PictureFiles:
    """Files in one folder. Others, of shards or archives, override what they do.

    Args:
        folder: of the job.
        writer: of the files.
    """

    def __init__(self, folder: Path, writer: Writer) -> None:
        self.folder = folder
        self.writer = writer

    def file(self, picture: Picture) -> str:
        """The path of a picture in the job's folder."""
        return f"{picture.name}{self.writer.suffix}"

    def there(self) -> set[str]:
        """The files that the folder has, by their paths in it."""
        try:
            return {entry.name for entry in os.scandir(self.folder)}
        except FileNotFoundError:
            return set()

    def adopt(self, picture: Picture, manifest: Mapping[str, Any]) -> Written | None:
        """The file of a picture that is there already; None where there is none.

        Raises:
            LdmError: its name is that of something else.
        """
        path = self.folder / self.file(picture)
        if not os.path.lexists(path):
            return None
        if not (path.is_file() and self._holds(path, manifest)):
            raise taken(path)
        return Written(self.file(picture), hash_of(path))

    def write(self, picture: Picture, entry: Entry) -> Written:
        """Write a picture's file, whole or not at all.

        Raises:
            FileExistsError: something has its name.
            OSError: it cannot be written.
        """
        path = self.folder / self.file(picture)
        for writer, shown in entry.beside:
            self._write(writer, path.with_suffix(writer.suffix), shown, entry.manifest)
        return Written(
            self.file(picture), self._write(self.writer, path, entry.shown, entry.manifest)
        )

    def settle(self) -> None:
        """See that names outlive a power cut, before the ledger says that the files are there."""
        names_to_disk(self.folder)

    def sweep(self) -> None:
        """Remove what kills left of files that were being written."""
        sweep(self.folder)

    def pack(self, ledger: Ledger, claims: Claims) -> bool:
        """Put away, in archives, what is complete; whether nothing more of that is to be done."""
        return True

    def packed(self) -> list[Path]:
        """The archives that this process wrote since the last time."""
        return []

    def changed(self, files: Iterable[Written]) -> list[str]:
        """The paths of files that are there, and are another."""
        return [w.file for w in files if self._hash(w) not in (None, w.sha256)]

    def _hash(self, written: Written) -> str | None:
        try:
            return hash_of(self.folder / written.file)
        except (FileNotFoundError, IsADirectoryError):
            return None

    def _write(self, writer: Writer, path: Path, shown: Shown, manifest: Mapping[str, Any]) -> str:
        hashes: list[str] = []

        def write(fresh: Path) -> None:
            writer.write(shown, manifest, fresh)
            hashes.append(hash_of(fresh))

        def write_beside(fresh: Path) -> None:
            fresh.write_text(json_text(manifest, indent=2) + "\n", encoding="utf-8")

        write_named(path, write, beside=None if writer.holds(manifest) else (BESIDE, write_beside))
        return hashes[0]

    def _holds(self, path: Path, manifest: Mapping[str, Any]) -> bool:
        """Whether a file is a whole picture of a manifest."""
        return same_picture(manifest_in(path), manifest) and is_whole(path)


def same_picture(there: Mapping[str, Any] | None, manifest: Mapping[str, Any]) -> bool:
    """Whether two manifests are of one picture, wherever it was made."""
    if there is None:
        return False
    first, second = (without_place(m, installed()) for m in (there, manifest))
    return same_made(first, second)


def taken(path: Path) -> LdmError:
    """That a name is another file's."""
    return LdmError(
        f"the file '{path}' is there already, and is no picture of this job's line.",
        "move it away, or give another folder with --out or other names with --name.",
    )


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
