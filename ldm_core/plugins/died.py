"""Packages whose code ends the whole process beneath Python, and how they are kept from it.

A crash of compiled code, an abort or a kill leaves nobody who could say whose it was. So code of
another package that nobody asked for by its name runs in a copy of the process first, and here only
where it comes through there: once for each version of a package, which is kept in the user's cache.
While it runs here, a file in that cache says whose it is, which the process holds a lock on and
takes away at the end. One that nobody holds is of a process that died meanwhile, and what it names
is tried in a copy again: a package that was mended is used, and so is one beside which somebody
killed the process. One that comes through there and then ends a second process is left out, until
there is another version of it or the file is taken away.

Systems other than Linux have none of this: copies of a process are not safe on macOS, and Windows
makes none.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

from ldm_core.cache import cache_folder
from ldm_core.errors import LdmWarning

FOLDER = "running"
KNOWN = "known"
ALONE = 2
"""Threads of a program that does nothing else: the first, and the one that says who is waited for.
Beside others a copy is made of a process only after one died."""
PATIENCE = 60.0
"""Seconds that a copy of the process may take."""
TASKS = "/proc/self/task"
"""A folder for each thread of the process, those of compiled code too."""
HUNG, TWICE = "did not end within", "ended before it was done, twice"
LONGEST = 4096
"""Bytes of such a file."""


class Watch:
    """While it is open, a file says whose code runs."""

    def __init__(self) -> None:
        self._left = ExitStack()
        self._died: dict[str, list[tuple[Path, str]]] | None = None
        self._known: set[str] = set()
        self._file: int | None = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.close()
        self._died = self._file = None

    def over(self, what: str, do: Callable[[], object], version: str | None = None) -> str | None:
        """Say what is done from now on.

        Args:
            what: in a few words, the same in every process.
            do: does it.
            version: of the package whose code that is; where it is given, it is tried in a copy of
                the process the first time.
        Returns:
            How a copy of the process ended that did it; None where it may be done here.
        """
        if self._died is None:
            self._died, self._known = _died(), _known()
            with suppress(OSError, RuntimeError):  # there is no home, or it takes no file
                self._lay()
        new = version is not None and f"{what} {version}" not in self._known
        died, again = self._died.get(what, []), f"again {version}"
        if twice := [file for file, said in died if said == again]:
            until = f"another version is tried, and this one once {twice[0]} is taken away"
            return f"{TWICE}, though a copy of it came through; {until}"
        if died or (new and _copies_well()):
            ended = end_of(do)
            if ended is not None and (died or not ended.startswith(HUNG)):
                return ended
            if ended is not None:  # which a copy alone may do, of a library that had threads here
                text = f"{what}: a copy of the process that tried it {ended}; it is done here."
                warnings.warn(LdmWarning(text), stacklevel=2)
            for file, _ in self._died.pop(what, ()):
                with suppress(OSError):
                    file.unlink()
            if new:
                _keep(f"{what} {version}")
        if self._file is not None:
            with suppress(OSError):
                text = f"{what}\n{again if died else ''}\n"
                os.pwrite(self._file, os.fsencode(text)[:LONGEST], 0)
        return None

    def _lay(self) -> None:
        """Lay down the file, which is this process's as long as it lives."""
        if sys.platform != "linux":
            return
        import fcntl

        folder = cache_folder(FOLDER)
        path = folder / f"{os.getpid()}.{time.time_ns()}"
        if not os.path.isdir(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._left.callback(_put_away, file, path)
        fcntl.flock(file, fcntl.LOCK_EX)
        self._file = file


def _copies_well() -> bool:
    """Whether a copy of this process can do what the process can: threads are not copied, and the
    libraries beneath torch wait in a copy for those that they had."""
    if threading.active_count() > ALONE:
        return False
    with suppress(OSError):
        return "torch" not in sys.modules or len(os.listdir(TASKS)) <= ALONE
    return True


def _known() -> set[str]:
    """What has come through, each with the version of its package."""
    with suppress(OSError, RuntimeError):
        return {*(cache_folder(FOLDER) / KNOWN).read_text(errors="surrogateescape").splitlines()}
    return set()


def _keep(what: str) -> None:
    line = os.fsencode(f"{what}\n")
    with suppress(OSError, RuntimeError), (cache_folder(FOLDER) / KNOWN).open("ab", 0) as file:
        file.write(line)  # in one go, several processes at once too


def _put_away(file: int, path: Path) -> None:
    with suppress(OSError):
        os.close(file)
        path.unlink()


def _died() -> dict[str, list[tuple[Path, str]]]:
    """What processes did when they died, with the files that say so and whether that was again."""
    if sys.platform != "linux":
        return {}
    died: dict[str, list[tuple[Path, str]]] = {}
    with suppress(OSError, RuntimeError):
        for path in cache_folder(FOLDER).iterdir():
            left = None if path.name == KNOWN else _left_in(path)
            if left is not None and left[0]:
                died.setdefault(left[0], []).append((path, left[1]))
            elif left is not None:
                path.unlink(missing_ok=True)
    return died


def _left_in(path: Path) -> tuple[str, str] | None:
    """The two lines of a file whose process has died; None of another."""
    if sys.platform != "linux":
        return None
    import fcntl

    with suppress(OSError), ExitStack() as left:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        left.callback(os.close, file)
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # which others that ask may have too
        what, _, rest = os.fsdecode(os.read(file, LONGEST)).partition("\n")
        return what, rest.partition("\n")[0]
    return None


def end_of(do: Callable[[], object], patience: float = PATIENCE) -> str | None:
    """How a copy of this process ends that does something; None where it comes through, whatever
    it raises.

    Args:
        patience: seconds that it may take.
    """
    if sys.platform != "linux":
        return None
    import select

    through, says = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which a copy lacks
        copy = os.fork()
    if copy == 0:
        _do_and_end(do, says)
    os.close(says)
    status = 0
    try:
        heard = bool(select.select([through], [], [], patience)[0])
        if heard and os.read(through, 1):
            return None
    finally:
        os.close(through)
        with suppress(OSError):  # others may have waited for it
            os.kill(copy, signal.SIGKILL)  # which changes nothing of one that has ended
            status = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
    if not heard:
        return f"{HUNG} {patience:.0f} s"
    if status >= 0:
        return f"ended by itself, with exit code {status}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"


def _do_and_end(do: Callable[[], object], says: int) -> NoReturn:
    """Do it, unheard, say that it came through, and end so that nothing else is called."""
    try:
        with suppress(BaseException):
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            faulthandler.disable()
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            do()
        os.write(says, b".")
    finally:
        os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process outlived being killed")
