"""Which process makes a picture: a lock on the byte of its index, in one file of the job's folder.

The locks are POSIX record locks: they hold between processes and, over NFS, between machines, and
the kernel gives them back when their holder dies, however it dies. They say nothing between the
threads of one process, and all of a file's are lost when any descriptor of it is closed; so a
process has each such file open once, and keeps count itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ldm_core.errors import LdmWarning
from ldm_core.media.partial import is_named

NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
"""What a lock fails with on a file system that has none."""
OF_LEDGER = 1 << 40
"""The byte that is locked while the ledger is written."""


class _File:
    """One open file of this process, with the bytes that it holds."""

    def __init__(self, descriptor: int, process: int) -> None:
        self.descriptor = descriptor
        self.process = process
        self.users = 0
        self.taken: set[int] = set()
        self.mutex = threading.Lock()
        self.writing = threading.Lock()
        self.locks = True


_files: dict[tuple[int, int], _File] = {}
_opening = threading.Lock()


class Claims:
    """The claims of one worker on the pictures of a job; close it at the end.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._own: set[int] = set()
        with _opening:
            file = _files.get(_key(path))
            if file is None or file.process != os.getpid():
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
                file = _File(descriptor, os.getpid())
                _files[_key(path)] = file
            file.users += 1
        self._file = file
        self._path = path

    def check(self) -> None:
        """See that the claims are those of the folder that is there now.

        Raises:
            FileNotFoundError: it was removed, and another may have its name, in which others work
                who know nothing of these claims.
        """
        if not is_named(self._file.descriptor, self._path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._path))

    def take(self, indices: Sequence[int]) -> bool:
        """Claim pictures, all of them or none; at once, whoever has them.

        Raises:
            FileNotFoundError: the folder was removed.
        """
        self.check()
        file = self._file
        with file.mutex:
            if file.taken.intersection(indices):
                return False
            locked: list[tuple[int, int]] = []
            for start, length in _runs(indices):
                if not self._lock(start, length):
                    for place, size in locked:
                        fcntl.lockf(file.descriptor, fcntl.LOCK_UN, size, place)
                    return False
                locked.append((start, length))
            file.taken.update(indices)
            self._own.update(indices)
        return True

    def release(self, indices: Sequence[int]) -> None:
        """Give claims back."""
        file = self._file
        with file.mutex:
            for start, length in _runs(indices):
                if file.locks:
                    fcntl.lockf(file.descriptor, fcntl.LOCK_UN, length, start)
            file.taken.difference_update(indices)
            self._own.difference_update(indices)

    @contextmanager
    def all(self) -> Iterator[bool]:
        """Claim every picture while nobody makes one; whether that is so."""
        file = self._file
        with file.mutex:
            alone = not file.taken and self._lock(0, OF_LEDGER)
            try:
                yield alone and file.locks
            finally:
                if alone and file.locks:
                    fcntl.lockf(file.descriptor, fcntl.LOCK_UN, OF_LEDGER, 0)

    @contextmanager
    def ledger(self) -> Iterator[None]:
        """Have the ledger to oneself; who has it writes a few lines, so this waits."""
        file = self._file
        with file.writing:
            locked = self._lock(OF_LEDGER, 1, wait=True)
            try:
                self.check()
                yield
            finally:
                if locked and file.locks:
                    fcntl.lockf(file.descriptor, fcntl.LOCK_UN, 1, OF_LEDGER)

    def close(self) -> None:
        """Give everything back."""
        self.release(sorted(self._own))
        with _opening:
            self._file.users -= 1
            if self._file.users == 0:
                os.close(self._file.descriptor)
                for key in [key for key, file in _files.items() if file is self._file]:
                    del _files[key]

    def _lock(self, start: int, length: int, wait: bool = False) -> bool:
        file = self._file
        if not file.locks:
            return True
        how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
        try:
            fcntl.lockf(file.descriptor, how, length, start)
        except OSError as error:
            if error.errno in NO_LOCKS:
                file.locks = False
                warnings.warn(
                    "the file system of the job's folder has no locks, so that no process can tell "
                    "what another makes: let one process alone work on it.",
                    LdmWarning,
                    stacklevel=2,
                )
                return True
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                return False
            raise
        return True


def _key(path: Path) -> tuple[int, int]:
    """What a file is, whatever its name; nothing where there is none."""
    try:
        about = path.lstat()
    except FileNotFoundError:
        return (-1, -1)
    return (about.st_dev, about.st_ino)


def _runs(indices: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Indices as runs of neighbours: the first, and how many."""
    start = stop = -1
    for index in sorted(indices):
        if index == stop:
            stop += 1
            continue
        if stop > start:
            yield start, stop - start
        start, stop = index, index + 1
    if stop > start:
        yield start, stop - start
