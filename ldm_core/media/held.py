"""A folder that one run at a time writes into."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ldm_core.errors import LdmError
from ldm_core.machine import refused
from ldm_core.media.partial import is_named

LOCK = ".ldm.lock"
"""The file in a folder that a run holds; it says which."""
TRIES = 100
"""How often a folder is made that vanishes before it can be held."""
LONGEST = 1000
"""Bytes of what a lock says, and more."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Have a folder, which is made where it is not there, to this run alone.

    The kernel lets go of it when the process ends, however that comes. On a file system without
    locks nothing is held.

    Raises:
        LdmError: another run has it, it is no folder, or something else has the name of the lock.
        MachineError: it cannot be made, or written to.
    """
    new = not folder.exists()
    path = folder / LOCK
    while True:
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise LdmError(
                f"another run is writing into '{folder}': {owner or 'it does not say which'}.",
                "wait for its end, or give another folder.",
            ) from None
        except OSError:  # a file system without locks
            break
        if is_named(descriptor, path):
            break
        os.close(descriptor)  # the one that had it has just removed it
    _ours.add(descriptor)
    try:
        with suppress(OSError):  # a full disk: it is held all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        if descriptor in _ours:  # not in a child
            with suppress(OSError):
                path.unlink(missing_ok=True)
                if new:
                    folder.rmdir()  # where nothing was written
            _ours.discard(descriptor)
            os.close(descriptor)


def _opened(path: Path) -> int:
    """Open the lock, which is made where it is not there, and is written to only where it is a
    lock: what a link of its name leads to stays as it is."""
    folder = path.parent
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        for _ in range(TRIES):
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another run has just removed the folder
                descriptor = os.open(path, flags, 0o666)
                break
        else:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    except (FileExistsError, NotADirectoryError) as error:
        raise LdmError(f"'{folder}' cannot be written into: {error.strerror}.") from None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO) or not os.path.lexists(path):
            raise refused(f"'{folder}' cannot be written into", error) from None
    else:
        about = os.fstat(descriptor)
        if stat.S_ISREG(about.st_mode) and about.st_nlink <= 1 and about.st_size <= LONGEST:
            return descriptor
        os.close(descriptor)
    raise LdmError(
        f"'{path}' is not the lock of a run, and its name is kept for one.",
        "take it away, or give another folder.",
    )


_ours: set[int] = set()


def _let_go() -> None:
    """A child that lives on does not hold what its parent did."""
    for descriptor in _ours:
        os.close(descriptor)
    _ours.clear()


os.register_at_fork(after_in_child=_let_go)
