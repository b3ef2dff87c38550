"""What is heard of a job while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Begun:
    """A process begins to take work.

    Attributes:
        pictures: how many the job has.
        done: how many of them are there already.
        bad: how many lines are left out as bad.
        gone: how many pictures were there once, and are made again.
    """

    pictures: int
    done: int
    bad: int
    gone: int = 0


@dataclass(frozen=True)
class Made:
    """A picture is on disk, and in the ledger.

    Attributes:
        index: among all pictures of the job, from 0.
        line: its number in the file.
        seconds: that it took, its share of the batch.
        adopted: it was there already, without an entry in the ledger.
        archive: that the file is moved into once its shard is done.
        warnings: that came up with it.
    """

    index: int
    line: int
    path: Path
    seed: int
    seconds: float
    manifest: Mapping[str, Any]
    adopted: bool = False
    warnings: tuple[str, ...] = ()
    archive: Path | None = None


@dataclass(frozen=True)
class Failed:
    """A picture cannot be made, and the rest goes on. It is in the ledger with the reason, and
    another start tries it again.

    Attributes:
        index, line, seed: as of `Made`.
        error: what is wrong, in a sentence.
        hint: what may help.
        cause: what was raised, which the ledger does not keep; None where nothing was.
    """

    index: int
    line: int
    seed: int
    error: str
    hint: str = ""
    cause: BaseException | None = None


@dataclass(frozen=True)
class Waiting:
    """Nothing is free, and others still make some.

    Attributes:
        left: how many pictures.
    """

    left: int


@dataclass(frozen=True)
class Packed:
    """An archive is whole, and its pictures are no longer files of their own."""

    path: Path


Event = Begun | Made | Failed | Packed | Waiting
