"""A folder that one run at a time writes into."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ldm_core.errors import LdmError

LOCK = ".ldm.lock"
"""The file in a folder that a run holds; it says which."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Have a folder, which is made where it is not there, to this run alone.

    The kernel lets go of it when the process ends, however that comes. On a file system without
    locks nothing is held.

    Raises:
        LdmError: another run has it.
    """
    new = not folder.exists()
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # the run that made it has just removed it, or somebody else
            continue
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
        if _is(descriptor, path):
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


_ours: set[int] = set()


def _let_go() -> None:
    """A child that lives on does not hold what its parent did."""
    for descriptor in _ours:
        os.close(descriptor)
    _ours.clear()


os.register_at_fork(after_in_child=_let_go)


def _is(descriptor: int, path: Path) -> bool:
    """Whether what is open is what has the name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
