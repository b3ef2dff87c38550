"""Files and folders that are being written, under a random name, ``.ldm-<16 hex>.part``.

They are made exclusively, and locked while their writer lives; what a kill leaves of them, `sweep`
removes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = re.compile(r"\.ldm-[0-9a-f]{16}\.part")
"""Names of what is being written."""
LONGEST_WAIT = 10.0
"""Seconds for a lock, which anyone who may read a file can hold; then it goes on without."""
NO_SYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
"""What `os.fsync` fails with where a file system has no such thing; a full disk says otherwise."""


@contextmanager
def partial(folder: Path) -> Iterator[Path]:
    """A new, empty file for what is being written; it is gone at the end, unless it was renamed.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        path = folder / f".ldm-{secrets.token_hex(8)}.part"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        if _held(descriptor, path):
            break
        os.close(descriptor)  # another's `sweep` was between the two
    try:
        yield path
    finally:
        if path.is_dir() and not path.is_symlink():  # a writer of another package made one of it
            shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A new, empty folder for what is being written; it is gone at the end, with all that is in
    it, unless it was renamed.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        path = folder / f".ldm-{secrets.token_hex(8)}.part"
        path.mkdir()
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            if _held(descriptor, path):
                break
            os.close(descriptor)
    try:
        yield path
    finally:
        if is_named(descriptor, path):
            shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def sweep(folder: Path) -> int:
    """Remove what kills left in a folder of files that were being written; what a living process
    writes stays, and so does what cannot be removed.

    Returns:
        How many there were.
    """
    count = 0
    try:
        names = [entry.name for entry in os.scandir(folder) if PARTIAL.fullmatch(entry.name)]
    except OSError:
        return 0
    for path in (folder / name for name in names):
        with suppress(OSError):
            mode = path.lstat().st_mode
            is_folder = stat.S_ISDIR(mode)
            if not (is_folder or stat.S_ISREG(mode)):
                continue
            access = os.O_RDONLY if is_folder else os.O_RDWR
            descriptor = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _lock(descriptor, 0) and is_named(descriptor, path):
                    shutil.rmtree(path) if is_folder else path.unlink()
                    count += 1
            finally:
                os.close(descriptor)
    return count


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder to oneself among the writers of this package, where it can be locked; within
    itself, in one thread, it does nothing more."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # one that may be written to, and not read
        yield
        return
    try:
        about = os.fstat(descriptor)
        mine = (about.st_dev, about.st_ino)
        if mine in _own.folders:
            yield
            return
        _lock(descriptor, LONGEST_WAIT)
        _own.folders.add(mine)
        try:
            yield
        finally:
            _own.folders.remove(mine)
    finally:
        os.close(descriptor)


class _Own(threading.local):
    """The folders that this thread has to itself."""

    def __init__(self) -> None:
        self.folders: set[tuple[int, int]] = set()


_own = _Own()


def to_disk(path: Path) -> None:
    """See that a file outlives a power cut, before it gets its name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def names_to_disk(folder: Path) -> None:
    """See that the names in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """See that an open file, or the names in an open folder, outlive a power cut, where the file
    system knows of such a thing."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def _lock(descriptor: int, seconds: float) -> bool:
    """Lock an open file or folder until it is closed; False where it cannot be, or another has the
    lock for longer than that."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        except OSError:  # a file system without locks
            return False
        else:
            return True


def is_named(descriptor: int, path: Path) -> bool:
    """Whether what is open is what has the name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _held(descriptor: int, path: Path) -> bool:
    """Lock what was just made; whether it is still there."""
    _lock(descriptor, LONGEST_WAIT)
    return is_named(descriptor, path)
