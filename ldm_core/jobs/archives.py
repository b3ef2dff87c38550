"""A job's files in WebDataset archives: ``00000.tar``, …, one for each shard.

A picture is first a file of its shard's folder, as any. Once all pictures of a shard are there, the
process that claims the shard writes the archive beside the folder, whole or not at all, and then
removes the files. Killed at any moment, one of the two holds each picture, and the same command
goes on from there.

An archive depends on the pictures alone: its members come in the order of the lines, and have no
time and no owner. For each picture there are ``KEY.png``, or of what format it is, its manifest as
``KEY.json``, and its prompt, where it has one, as ``KEY.txt``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ldm_core.contracts import Writer
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.jobs.batching import Batch, Picture
from ldm_core.jobs.claims import OF_LEDGER, Claims
from ldm_core.jobs.files import Entry, PictureFiles, Written, same_picture, taken
from ldm_core.jobs.ledger import DONE, Ledger
from ldm_core.jobs.shards import ShardedFiles, shard_name
from ldm_core.media.json_text import json_text
from ldm_core.media.names import write_named
from ldm_core.media.partial import names_to_disk
from ldm_core.media.picture_manifests import BESIDE, manifest_in

OF_SHARDS = OF_LEDGER << 1
"""The byte whose lock is the claim of the first shard; that of the next one is the next."""
SUFFIX = ".tar"


class ArchivedFiles(ShardedFiles):
    """Files in an archive for each shard that is done, and in its folder before.

    Args:
        pictures: all that the job makes.
    Raises:
        LdmError: the name of a picture has a dot, where WebDataset ends the key.
    """

    def __init__(
        self, folder: Path, writer: Writer, size: int, pictures: Iterable[Picture]
    ) -> None:
        super().__init__(folder, writer, size)
        self._open: dict[int, list[Picture]] = {}
        self._packed: list[Path] = []
        for picture in sorted(pictures, key=lambda picture: picture.index):
            if "." in picture.name:
                raise LdmError(
                    f"line {picture.line}: the name '{picture.name}' has a dot, and WebDataset "
                    "takes what is before it for the name of the sample.",
                    "names without dots are made by --name or a file_name.",
                )
            self._open.setdefault(picture.index // size, []).append(picture)

    def write(self, picture: Picture, entry: Entry) -> Written:
        return self._placed(super().write(picture, entry))

    def there(self) -> set[str]:
        loose = super().there()  # before the archives, into which they are moved meanwhile
        return loose | {
            f"{path.stem}/{name}"
            for path in self.folder.glob(f"[0-9]*{SUFFIX}")
            for name in _names(path)
        }

    def adopt(self, picture: Picture, manifest: Mapping[str, Any]) -> Written | None:
        if (written := super().adopt(picture, manifest)) is not None:
            return self._placed(written)
        written = self._placed(Written(self.file(picture), ""))
        assert written.tar is not None
        assert written.member is not None
        members = _read(self.folder / written.tar, [written.member, f"{picture.name}.json"])
        if written.member not in members:
            return None
        text = members.get(f"{picture.name}.json", b"null")
        if not same_picture(json.loads(text), manifest):
            raise taken(self.folder / written.tar)
        digest = hashlib.sha256(members[written.member]).hexdigest()
        return self._placed(Written(self.file(picture), digest))

    def changed(self, files: Iterable[Written]) -> list[str]:
        changed: list[str] = []
        packed: dict[str, list[Written]] = {}
        for written in files:
            digest = self._hash(written)
            if digest is None and written.tar is not None:
                packed.setdefault(written.tar, []).append(written)
            elif digest not in (None, written.sha256):
                changed.append(written.file)
        for tar, several in packed.items():
            digests = _digests(self.folder / tar)
            changed += [
                f"{tar}: {written.member}"
                for written in several
                if digests.get(str(written.member)) not in (None, written.sha256)
            ]
        return changed

    def pack(self, ledger: Ledger, claims: Claims) -> bool:
        """Pack each shard whose pictures are all there, unless another process does that now.

        Returns:
            Whether no other process does.

        Raises:
            LdmError: the name of an archive is another file's.
            OSError: it cannot be written.
        """
        left = False
        for number, pictures in list(self._open.items()):
            if any(ledger.states[picture.index] != DONE for picture in pictures):
                continue
            if not claims.take([OF_SHARDS + number]):
                left = True
                continue
            try:
                self._pack(shard_name(number), pictures, ledger)
                del self._open[number]
            finally:
                claims.release([OF_SHARDS + number])
        return not left

    def packed(self) -> list[Path]:
        packed, self._packed = self._packed, []
        return packed

    def _placed(self, written: Written) -> Written:
        """A picture's file with the place where it will be."""
        shard, _, name = written.file.partition("/")
        return Written(written.file, written.sha256, f"{shard}{SUFFIX}", name)

    def _pack(self, shard: str, pictures: Sequence[Picture], ledger: Ledger) -> None:
        folder, path = self.folder / shard, self.folder / f"{shard}{SUFFIX}"
        if not folder.is_dir() and path.is_file():
            return
        files = _files(folder, pictures)
        try:
            write_named(path, lambda fresh: _write_tar(fresh, folder, pictures, files))
        except FileExistsError:  # of a process that was killed before it removed the files
            self._check_packed(path, pictures, ledger)
        names_to_disk(self.folder)
        self._packed.append(path)
        for name in (name for names in files.values() for name in names):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # another file is in it
            folder.rmdir()

    def _check_packed(self, path: Path, pictures: Sequence[Picture], ledger: Ledger) -> None:
        """See that an archive holds pictures as the ledger has them."""
        wanted = {picture.index for picture in pictures}
        results = {r.index: r for r in ledger.results() if r.index in wanted}
        digests = _digests(path)
        if any(digests.get(str(r.member)) != r.sha256 for r in results.values()):
            raise taken(path)


KINDS = ("folders", "webdataset")
"""Of shards."""


def check_shards(kind: str | None, size: int) -> None:
    """Refuse shards that there are not."""
    if kind is not None and kind not in KINDS:
        raise LdmError(
            f"there are no shards of the kind '{kind}'.{did_you_mean(kind, KINDS)} "
            f"There are {' and '.join(KINDS)}."
        )
    if size < 1:
        raise LdmError(f"a shard has at least one picture, not {size}.")


def files_of(
    folder: Path, writer: Writer, kind: str | None, size: int, batches: Iterable[Batch]
) -> PictureFiles:
    """The files of a job, in shards of a kind and size, or none.

    Raises:
        LdmError: as of `ArchivedFiles`.
    """
    if kind is None:
        return PictureFiles(folder, writer)
    if kind == "folders":
        return ShardedFiles(folder, writer, size)
    pictures = (picture for batch in batches for picture in batch.pictures)
    return ArchivedFiles(folder, writer, size, pictures)


def _files(folder: Path, pictures: Sequence[Picture]) -> dict[str, list[str]]:
    """The names of each picture's files, by the picture's own, in the order of the pictures."""
    files: dict[str, list[str]] = {picture.name: [] for picture in pictures}
    for name in sorted(entry.name for entry in os.scandir(folder)):
        if (key := name.partition(".")[0]) in files:
            files[key].append(name)
    return files


def _write_tar(
    path: Path, folder: Path, pictures: Sequence[Picture], files: Mapping[str, Sequence[str]]
) -> None:
    """Write an archive."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for picture in pictures:
            manifest: dict[str, Any] | None = None
            for name in files[picture.name]:
                if name.endswith(BESIDE):
                    continue
                _add(tar, name, (folder / name).read_bytes())
                manifest = manifest or manifest_in(folder / name)
            manifest = manifest or {}
            _add(tar, f"{picture.name}.json", f"{json_text(manifest)}\n".encode())
            prompt = manifest.get("inputs", {}).get("prompt")
            if isinstance(prompt, str):
                _add(tar, f"{picture.name}.txt", prompt.encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


def _members(path: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The plain members of an archive; none where it is not there, or cannot be read further."""
    with suppress(FileNotFoundError, tarfile.TarError), tarfile.open(path, "r:") as tar:
        for member in tar:
            if member.isreg():
                yield tar, member


def _names(path: Path) -> list[str]:
    return [member.name for _, member in _members(path)]


def _read(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The contents of members, as far as there are such."""
    contents = {}
    for tar, member in _members(path):
        if member.name in names and (file := tar.extractfile(member)) is not None:
            contents[member.name] = file.read()
    return contents


def _digests(path: Path) -> dict[str, str]:
    """The SHA-256 of each member."""
    digests = {}
    for tar, member in _members(path):
        if (file := tar.extractfile(member)) is not None:
            digests[member.name] = hashlib.sha256(file.read()).hexdigest()
    return digests
