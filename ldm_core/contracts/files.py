"""Files and folders that a person names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args

from ldm_core.errors import LdmError

NAMES_FILE = "names a file"
FileName = Annotated[str, NAMES_FILE]
"""The type of an option that names a file or folder, where it may also be an id of the Hub: a
recipe that is composed names it in full, so that it means the same wherever it is read."""
READ, WRITTEN = "names a file that is read", "names a file that is written"
InputPath = Annotated[Path, READ]
"""The type of a command's argument or option that names a file or folder to read. ``ldm replay``
asks the person before it reads one outside the picture's own folder."""
OutputPath = Annotated[Path, WRITTEN]
"""The type of a command's option that names a file or folder to write, beside what the command
returns. ``ldm replay`` leaves it out, and refuses a `Path` of which neither is said."""


def expanded(path: str | Path) -> Path:
    """A path whose leading ``~`` is the home folder that it stands for; as it is where it stands
    for none, as in ``~a.png``, for which `Path.expanduser` raises."""
    return Path(os.path.expanduser(path))


def walked(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, which passes over a folder that cannot be looked into as if nothing lay there.

    Raises:
        OSError: there is such a folder.
    """

    def fail(error: OSError) -> NoReturn:
        raise error

    return os.walk(folder, onerror=fail)


def files_in(folder: Path) -> Iterator[Path]:
    """All files in a folder, and in folders within it to which no link leads.

    Raises:
        OSError: one of the folders cannot be looked into, which `Path.rglob` passes over.
    """
    paths = (Path(place, name) for place, _, names in walked(folder) for name in names)
    return (path for path in paths if path.is_file())


def is_there(path: str | Path) -> bool:
    """Whether there is such a file or folder; no where the name is too long, or holds what no name
    can, for which `Path.exists` raises."""
    try:
        return expanded(path).exists()
    except (OSError, ValueError):
        return False


def to_read(path: str | Path, what: str = "") -> Path:
    """A path as `expanded`, of what is to be read.

    Args:
        what: it is, for the message.

    Raises:
        LdmError: no file can have such a name, which `Path.is_dir` and others raise for.
    """
    read = expanded(path)
    try:
        read.exists()
        with suppress(OSError):
            read.stat()  # a ValueError of which `exists` keeps to itself
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        name = f"{what} '{str(path)[:60]}…'".strip()
        raise LdmError(f"{name} is the name of no file: {reason}.") from None
    return read


def in_full(path: str | Path) -> str:
    """A path from the root, so that it means the same in every folder. One that goes through a
    link to itself keeps that link's name, where `Path.resolve` raises before Python 3.13."""
    return os.path.realpath(expanded(path))


def with_full_paths(
    value: Any, names_file: bool, keys: tuple[str, ...] = (), full: Callable[[str], str] = in_full
) -> Any:
    """A value in which files are named in full; pictures and tensors in it stay as they are.

    Args:
        names_file: whether text in it, alone or in a list, names a file.
        keys: of tables in it, those whose value does.
    """
    if isinstance(value, str | Path):
        return full(str(value)) if names_file else value
    if isinstance(value, list | tuple):
        return [with_full_paths(entry, names_file, keys, full) for entry in value]
    if isinstance(value, Mapping):
        return {k: with_full_paths(entry, k in keys, keys, full) for k, entry in value.items()}
    return value


def parts_of(annotation: Any) -> set[Any]:
    """The types in an annotation, those inside others too, and what is annotated."""
    inner = get_args(annotation)
    return (
        {annotation, *inner}
        | {part for one in inner if not isinstance(one, str) for part in parts_of(one)}
        if inner
        else {annotation}
    )
