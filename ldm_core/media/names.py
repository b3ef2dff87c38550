"""New files, under a name that no other writer has, whole or not at all.

A file is written beside its later place, see `ldm_core.media.partial`, and gets its name by a hard
link, which fails where the name is taken. On a file system without hard links it is renamed to a
name that was free a moment before, with the folder locked meanwhile: writers of this package still
exclude each other there, and another program that takes the very name in that moment loses its
file. Nowhere does an unfinished file stand under a final name.
"""

from __future__ import annotations

import errno
import filecmp
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

from ldm_core.errors import LdmError, MachineError
from ldm_core.machine import machine_error, refused
from ldm_core.media.partial import locked, partial, sweep, to_disk

LONGEST = 100
"""Letters of a name before its number and suffix."""
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
"""What `os.link` fails with where a file system has no hard links, or no more of them."""

Write = Callable[[Path], object]
"""``write(path)`` writes a file under a name for the time being."""


def write_new(
    folder: Path,
    stem: str,
    suffix: str,
    write: Write,
    *,
    ending: str = "",
    beside: tuple[str, Write] | None = None,
) -> Path:
    """Write a file under a name made of these words that no file in the folder has, whole or not
    at all; of two writers, in one process or several, neither loses its file.

    Args:
        stem: words, which are cut where they are many.
        ending: of the name before the suffix, which is kept whole, such as ``-seed7``.
        beside: ending and writer of a file that belongs to it, such as ``.json`` for ``NAME.json``
            beside ``NAME``: it comes first, so that whoever sees the one finds the other. One that
            a kill left alone, and that is the same, is taken over.
    Returns:
        The path that it then has.
    """
    with partial(folder) as fresh, partial(folder) if beside else nullcontext(folder) as other:
        write(fresh)
        to_disk(fresh)
        if beside is not None:
            beside[1](other)
            to_disk(other)
        for path in _candidates(folder, _name(stem, ending), suffix):
            with suppress(FileExistsError):
                if beside is None:
                    _take(fresh, path)
                else:
                    _take_both(fresh, path, other, path.with_name(f"{path.name}{beside[0]}"))
                return path
        raise AssertionError("there are names without end")


def write_named(path: Path, write: Write, *, beside: tuple[str, Write] | None = None) -> None:
    """Write a file under this very name, whole or not at all.

    Args:
        beside: as of `write_new`.
    Raises:
        FileExistsError: something has the name.
        OSError: it cannot be written.
    """
    folder = path.parent
    with partial(folder) as fresh, partial(folder) if beside else nullcontext(folder) as other:
        write(fresh)
        to_disk(fresh)
        if beside is None:
            _take(fresh, path)
        else:
            beside[1](other)
            to_disk(other)
            _take_both(fresh, path, other, path.with_name(f"{path.name}{beside[0]}"))


def write_whole(path: Path, write: Write, *, overwrite: bool = False) -> None:
    """Write the file of a name that was asked for, whole or not at all. One that is there, with the
    very bytes that would be written, is taken for it.

    Args:
        overwrite: replace a file of that name. A symbolic link of that name is replaced itself,
            and what it points to stays as it is.
    Raises:
        LdmError: as of `check_new`, or another file has the name.
        MachineError: the disk is full, or whatever else a machine refuses.
    """
    check_new(path, overwrite=True)
    sweep(path.parent)
    try:
        with partial(path.parent) as fresh:
            write(fresh)
            to_disk(fresh)
            if overwrite:
                os.replace(fresh, path)
            elif not _is_same(fresh, path):
                _take(fresh, path)
    except FileExistsError:
        raise _taken(path) from None
    except Exception as error:  # some libraries have errors of their own for the system's
        if machine_error(error) is None and not _is_gone(error, path.parent):
            raise
        raise refused(f"'{_printed(path)}' cannot be written", error) from None


def _is_gone(error: Exception, folder: Path) -> bool:
    """Whether a folder is what was not found: removed since it was looked at, or such as takes no
    files, whatever it says of itself."""
    missing = error.filename if isinstance(error, FileNotFoundError) else None
    return isinstance(missing, str | os.PathLike) and Path(missing).parent == folder


def check_new(path: Path, *, overwrite: bool = False, name: str = "file") -> None:
    """See that a file may be written under a name, before anything is computed.

    Args:
        name: what to call it in an error.
    Raises:
        LdmError: something has the name, and is not to be overwritten or is no file.
        MachineError: the file system has no such names, or nothing can be put there.
    """
    try:
        length, most = len(os.fsencode(path.name)), _longest(path.parent)
        mode = path.lstat().st_mode if length <= most else None
    except FileNotFoundError:
        _check_folder(path.absolute().parent, name)
        return
    except (OSError, ValueError) as error:  # a path too long; NUL, or half a letter, in it
        reason = error.strerror if isinstance(error, OSError) else str(error)
        kind = LdmError if machine_error(error) is None else MachineError
        raise kind(f"the {name} '{_printed(path)}' cannot be written: {reason}.") from None
    if mode is None:
        raise MachineError(
            f"the {name} '{_printed(path)}' cannot be written: its name has {length} bytes, and "
            f"the file system has names of at most {most}."
        )
    if stat.S_ISDIR(mode):
        raise LdmError(f"the {name} '{_printed(path)}' should be a file, and is a folder.")
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise LdmError(
            f"the {name} '{_printed(path)}' is a device or a pipe, and no file can take its place."
        )
    if not overwrite:
        raise _taken(path, name)
    _check_folder(path.absolute().parent, name)


def _check_folder(folder: Path, name: str) -> None:
    """See that a file can be made in a folder, or in one that can be made."""
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise LdmError(f"the {name} cannot be written: '{_printed(there)}' is no folder.")
    if not os.access(there, os.W_OK):
        raise MachineError(
            f"the {name} cannot be written: nothing can be put into '{_printed(there)}'."
        )


def _take(fresh: Path, path: Path, *, lock: bool = True) -> None:
    """Give a file a name, unless something has it.

    Args:
        lock: the folder where that is needed, because it is not locked yet.
    """
    try:
        os.link(fresh, path)
    except OSError as error:
        if isinstance(error, FileExistsError) or error.errno not in NO_LINKS:
            raise
        with locked(path.parent) if lock else nullcontext():
            _check_free(path)
            os.rename(fresh, path)


def _take_both(fresh: Path, path: Path, other: Path, beside: Path) -> None:
    """Give two files names that belong together, unless something has one of them."""
    with locked(path.parent):
        _check_free(path)
        alone = os.path.lexists(beside) and stat.S_ISREG(beside.lstat().st_mode)
        if not (alone and beside.read_bytes() == other.read_bytes()):
            _take(other, beside, lock=False)
        try:
            _take(fresh, path, lock=False)
        except FileExistsError:  # of another program, since the check
            beside.unlink()
            raise


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _is_same(fresh: Path, path: Path) -> bool:
    """Whether a name is that of a plain file with the same bytes."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and filecmp.cmp(fresh, path, shallow=False)
    except FileNotFoundError:
        return False


def _longest(folder: Path) -> int:
    """Bytes that a name in a folder may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except OSError:  # it is not there yet
        return 255


def _taken(path: Path, name: str = "file") -> LdmError:
    return LdmError(
        f"the {name} '{_printed(path)}' is there already, and is not overwritten.",
        "give another name; or --overwrite, in Python overwrite=True, replaces it.",
    )


def _printed(path: Path) -> str:
    """A path as it can be printed, and not all of a long one."""
    text = str(path).encode("utf-8", "backslashreplace").decode().replace("\0", r"\0")
    return text if len(text) <= 300 else f"{text[:300]}…"


def _name(stem: str, ending: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    words = words[: max(LONGEST - len(ending), 0)].rstrip("-")
    return f"{words}{ending}".lstrip("-") or "image"


def _candidates(folder: Path, name: str, suffix: str) -> Iterator[Path]:
    yield folder / f"{name}{suffix}"
    count = 1
    while True:
        count += 1
        yield folder / f"{name}-{count}{suffix}"
