"""The lines of a job's file, as they stand there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldm_core.composition.limits import MOST_IMAGES, check_file
from ldm_core.contracts.files import to_read
from ldm_core.errors import LdmError, PluginError
from ldm_core.machine import refused


@dataclass(frozen=True, slots=True)
class Line:
    """One line, or row of a data set.

    Attributes:
        index: from 0, among the lines that say something; one that is bad counts.
        number: of the file's line where it begins, from 1; of a data set's row.
        values: by the column's name; None where the line does not say it.
        name: what messages call it, where it is no line of a file.
    """

    index: int
    number: int
    values: Mapping[str, Any]
    name: str = ""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that nothing can be made of.

    Attributes:
        index, number, name: as of a `Line`.
        reason: what is wrong, in a sentence.
        hint: what may help.
        fault: of a plugin of another package, for which the line is not to blame.
    """

    index: int
    number: int
    reason: str
    hint: str = ""
    fault: PluginError | None = field(default=None, repr=False, compare=False)
    name: str = ""

    @property
    def place(self) -> str:
        """Which line it is, in words."""
        return self.name or f"line {self.number}"


@dataclass(frozen=True)
class Lines:
    """What a file of lines says.

    Attributes:
        folder: in which files are looked for that lines name.
        text: values are text, to be read by what their column is.
        sha256: of what was read.
    """

    path: Path
    folder: Path
    lines: tuple[Line, ...]
    bad: tuple[BadLine, ...]
    text: bool
    sha256: str


Row = tuple[int, Mapping[str, Any] | str]
"""The number of a line with its values, or with what is wrong with it."""
Read = Callable[[str], Iterable[Row]]
"""``read(text)``: the rows of a file's text; `LdmError` where no row can be told from another."""


def read_lines(path: Path, extracted: Path = Path("inputs"), fresh: Path | None = None) -> Lines:
    """Read a file of lines, or a folder with a data set.

    A ``.txt`` has a prompt in each line; ``.csv`` and ``.tsv`` name their columns in the first;
    ``.jsonl`` has a table in each. Lines without anything in them are passed over.

    Args:
        extracted: a folder for pictures that the rows of a data set hold themselves.
        fresh: where those are written that it has not yet; the same folder where None.
    Raises:
        LdmError: there is no such file, it is of another kind, no UTF-8 text, a pipe, or says
            nothing.
    """
    from ldm_core.jobs import tables

    path = to_read(path, "the file of prompts")
    suffix = path.suffix.lower()
    if not path.exists():
        raise LdmError(f"there is no file of prompts '{path}'.")
    if is_data_set(path):
        from ldm_core.jobs.data_sets import read_data_set

        return read_data_set(path, extracted, fresh)
    if suffix not in tables.READERS:
        kinds = ", ".join(tables.READERS)
        raise LdmError(
            f"'{path.name}' is no file of prompts: its name should end in one of {kinds}.",
            "a folder with a data set can be given too.",
        )
    check_file(path, 4, "file of prompts")
    if not path.is_file():  # each process of a job reads it, and a pipe would be waited for
        raise LdmError(f"the file of prompts '{path}' is no plain file.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise refused(f"the file of prompts '{path}' cannot be read", error) from None
    rows = tables.READERS[suffix](decoded(data, path.name))
    text = suffix not in (".jsonl", ".ndjson")
    return gathered(path, path.absolute().parent, rows, text, hashlib.sha256(data).hexdigest())


def is_data_set(path: Path) -> bool:
    """Whether a path is that of a data set."""
    path = to_read(path, "the file of prompts")
    return path.is_dir() or path.suffix.lower() in (".parquet", ".arrow")


def decoded(data: bytes, name: str) -> str:
    """A file's bytes as text, without a mark of its order of bytes, its lines ended as here.

    Raises:
        LdmError: it is no UTF-8, with the line of the first letter that is none.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LdmError(f"'{name}' is UTF-16 text; save it in UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise LdmError(
            f"line {number} of '{name}' is not UTF-8 text (byte 0x{data[error.start]:02x}).",
            "save it in UTF-8.",
        ) from None
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        raise LdmError(f"line {number} of '{name}' has a zero byte, which no text has.")
    return text


def gathered(path: Path, folder: Path, rows: Iterable[Row], text: bool, sha256: str) -> Lines:
    """Rows in their order, the bad ones apart.

    Raises:
        LdmError: there are none, or more than a job takes.
    """
    lines: list[Line] = []
    bad: list[BadLine] = []
    for index, (number, row) in enumerate(rows):
        if index >= MOST_IMAGES:
            raise LdmError(
                f"'{path.name}' has more than {MOST_IMAGES:,} lines; make several jobs of it."
            )
        if isinstance(row, str):
            bad.append(BadLine(index, number, row))
        else:
            lines.append(Line(index, number, row))
    if not lines and not bad:
        raise LdmError(f"the file of prompts '{path.name}' is empty; there is nothing to make.")
    return Lines(path, folder, tuple(lines), tuple(bad), text, sha256)
