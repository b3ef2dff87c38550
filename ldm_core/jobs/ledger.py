"""What became of each picture: a line of JSON in ``results.jsonl``, written after the file.

Lines are appended, each batch's in one write, by one process at a time. The last line of an ending
file may be torn by a kill; it stands for nothing, and whoever appends next takes it away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.media.json_text import json_text
from ldm_core.media.partial import sync


@dataclass(frozen=True)
class Result:
    """What became of a picture.

    Attributes:
        index: among all pictures of the job, from 0.
        line: its number in the file of lines.
        seed: its own.
        file: its path in the job's folder; None where it could not be made.
        tar, member: where it is in place of that once its shard is packed, if so.
        seconds: that it took.
        sha256: of the file.
        error: why it could not be made.
        evaluations: of the denoiser that it took, where that is known.
        together: how many pictures were made at once, whose time is shared equally among them.
    """

    index: int
    line: int
    seed: int
    file: str | None = None
    seconds: float = 0.0
    sha256: str | None = None
    error: str | None = None
    tar: str | None = None
    member: str | None = None
    evaluations: int | None = None
    together: int | None = None

    def as_table(self) -> dict[str, Any]:
        """For the ledger."""
        head = {"index": self.index, "line": self.line, "seed": self.seed}
        if self.error is not None:
            return {**head, "error": self.error}
        seconds = round(self.seconds, 3)
        packed = {} if self.tar is None else {"tar": self.tar, "member": self.member}
        cost = {"evaluations": self.evaluations, "together": self.together}
        known = {name: count for name, count in cost.items() if count is not None}
        where = {"file": self.file, **packed}
        return {**head, **where, "seconds": seconds, **known, "sha256": self.sha256}


DONE, FAILED = 1, 2
"""States of a picture in the ledger; 0 where it has none."""


class Ledger:
    """The ledger of a job's folder, as far as it is read.

    Args:
        path: need not be there.
        pictures: how many the job has.
        alone: gives a context in which no other process writes.
        since: a size of it; what the lines within that say has failed is tried again. The size
            that it has, where None.

    Attributes:
        states: of each picture, by its index: 0, `DONE` or `FAILED`.
    """

    def __init__(
        self,
        path: Path,
        pictures: int,
        alone: Callable[[], AbstractContextManager[None]],
        since: int | None = None,
    ) -> None:
        self.path = path
        self.since = size_of(path) if since is None else since
        self.states = bytearray(pictures)
        self._alone = alone
        self._read = 0

    def read(self) -> list[Result]:
        """The lines since the last time, which `states` then says too.

        Raises:
            LdmError: a line is of no job, or of a larger one.
            OSError: it cannot be read.
        """
        results = []
        for text in self._new_lines():
            result = _result(text, self.path, len(self.states))
            again = 0 if self._read <= self.since else FAILED
            self.states[result.index] = DONE if result.error is None else again
            results.append(result)
        return results

    def results(self) -> Iterator[Result]:
        """All lines from the first; `read` goes on where it was."""
        before, self._read = self._read, 0
        try:
            for text in self._new_lines():
                yield _result(text, self.path, len(self.states))
        finally:
            self._read = before

    @property
    def done(self) -> int:
        """How many pictures are there."""
        return self.states.count(DONE)

    @property
    def failed(self) -> int:
        """How many cannot be made."""
        return self.states.count(FAILED)

    def append(self, results: Sequence[Result]) -> None:
        """Write lines, which are on disk once this returns; all of them or none.

        Raises:
            OSError: they cannot be written.
        """
        data = "".join(json_text(result.as_table()) + "\n" for result in results).encode()
        with self._alone():
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            descriptor = os.open(self.path, flags, 0o666)
            try:
                size = _mended(descriptor)
                try:
                    written = 0
                    while written < len(data):
                        written += os.write(descriptor, data[written:])
                    sync(descriptor)
                except BaseException:
                    os.ftruncate(descriptor, size)
                    raise
            finally:
                os.close(descriptor)

    def _new_lines(self) -> Iterator[bytes]:
        """Whole lines since the last time."""
        if self._read == 0 and os.path.lexists(self.path) and not self.path.is_file():
            raise LdmError(f"the ledger '{self.path}' is no plain file.")
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._read)
            for text in file:
                if not text.endswith(b"\n"):
                    return
                self._read += len(text)
                if text.strip():
                    yield text


def size_of(path: Path) -> int:
    """The size of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _mended(descriptor: int) -> int:
    """The size of an open ledger, once a torn line at its end is taken away."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - 4096)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
    return end


def _is_sound(result: Result) -> bool:
    """Whether what a file says is of the types of a result, and one of the two."""
    texts = (result.file, result.sha256, result.error, result.tar, result.member)
    return (
        all(type(number) is int for number in (result.index, result.line, result.seed))
        and all(text is None or isinstance(text, str) for text in texts)
        and all(n is None or type(n) is int for n in (result.evaluations, result.together))
        and isinstance(result.seconds, int | float)
        and (result.file is None) != (result.error is None)
    )


def _result(text: bytes, path: Path, pictures: int) -> Result:
    try:
        table: Mapping[str, Any] = json.loads(text)
        result = Result(**table)
        usable = _is_sound(result) and 0 <= result.index < pictures
    except (ValueError, TypeError, RecursionError):
        usable = False
    if not usable:
        raise LdmError(
            f"'{path}' is no ledger of this job: it has the line {text[:80]!r}.",
            "give another folder; or put the file away, and what is in the folder is looked at.",
        )
    return result
