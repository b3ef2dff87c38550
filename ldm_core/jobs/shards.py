"""A job's files in folders of so many each: ``00000/``, ``00001/``, …, in the order of lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ldm_core.contracts import Writer
from ldm_core.jobs.batching import Picture
from ldm_core.jobs.files import Entry, PictureFiles, Written
from ldm_core.media.partial import names_to_disk, sweep

SHARD_SIZE = 1000
"""Pictures of a shard, where nothing else is asked for."""
SHARD = re.compile(r"\d{5,}")
"""Names of the folders."""


class ShardedFiles(PictureFiles):
    """Files in a folder for each shard.

    Args:
        size: pictures of a shard, those of bad lines counted.
    """

    def __init__(self, folder: Path, writer: Writer, size: int = SHARD_SIZE) -> None:
        super().__init__(folder, writer)
        self.size = size
        self._fresh: set[Path] = set()

    def shard(self, picture: Picture) -> str:
        """The name of a picture's shard."""
        return shard_name(picture.index // self.size)

    def file(self, picture: Picture) -> str:
        return f"{self.shard(picture)}/{super().file(picture)}"

    def there(self) -> set[str]:
        names = set()
        for folder in self._folders():
            with suppress(FileNotFoundError):  # another process has just packed it
                names |= {f"{folder.name}/{entry.name}" for entry in os.scandir(folder)}
        return names

    def write(self, picture: Picture, entry: Entry) -> Written:
        folder = self.folder / self.shard(picture)
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            self._fresh.add(self.folder)
        self._fresh.add(folder)
        return super().write(picture, entry)

    def settle(self) -> None:
        for folder in self._fresh:
            names_to_disk(folder)
        self._fresh.clear()

    def sweep(self) -> None:
        super().sweep()
        for folder in self._folders():
            sweep(folder)

    def _folders(self) -> Iterable[Path]:
        """The folders of shards that are there."""
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.folder):
                if SHARD.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)


def shard_name(number: int) -> str:
    """What the shard of a number is called, from 0 on."""
    return f"{number:05d}"
