"""Tables in files: comma-separated values, and JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldm_core.composition.limits import available_bytes, check_file
from ldm_core.errors import LdmError
from ldm_core.model.reading import read_bytes

Row = dict[str, Any]
OF_A_ROW = 3
"""A table is held at least so many times: its bytes, its text, and its cells."""


def read_table(path: Path) -> list[Row]:
    """The rows of a .csv file (RFC 4180), whose cells are text and None where they are empty, or
    of a .jsonl file, by column.

    Raises:
        LdmError: it cannot be read, or has no rows, or they have different columns.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl"):
        raise LdmError(f"a table is a .csv or .jsonl file, not '{path.name}'.")
    check_file(path, OF_A_ROW, "table")
    text, whose = read_text(path, "table"), f"the table '{path}'"
    rows = _cells(text, whose) if suffix == ".csv" else [row for _, row in json_lines(text, whose)]
    if not rows:
        raise LdmError(f"{whose} has no rows.")
    for number, row in enumerate(rows, 1):
        if row.keys() != rows[0].keys() or None in row:
            raise LdmError(f"row {number} of {whose} has other columns than the first.")
    return rows


def read_text(path: Path, name: str) -> str:
    """The text of a file in UTF-8, its line ends as they are, with or without a byte order mark.

    Raises:
        LdmError: it cannot be read, or is other text.
    """
    try:
        return read_bytes(path, available_bytes() // OF_A_ROW).decode("utf-8-sig")
    except OSError as error:
        raise LdmError(f"the {name} '{path}' cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise LdmError(f"the {name} '{path}' must be UTF-8 text: {error}.") from None


def json_lines(text: str, whose: str) -> Iterator[tuple[int, Row]]:
    """The objects of JSON lines, one a line feed, each with its line's number.

    Raises:
        LdmError: a line holds something else.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise LdmError(f"line {number} of {whose} is no JSON: {error}.") from None
        if not isinstance(row, dict):
            raise LdmError(f"line {number} of {whose} should be a JSON object.")
        yield number, row


def _no_number(word: str) -> None:
    """Refuse what Python reads and JSON does not have: NaN and Infinity."""
    raise ValueError(f"it has no {word}")


def _cells(text: str, whose: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        names = list(reader.fieldnames or [])
        for name in names:
            if names.count(name) > 1:
                raise LdmError(f"{whose} has two columns '{name}'.")
        return [{n: None if cell == "" else cell for n, cell in row.items()} for row in reader]
    except csv.Error as error:
        raise LdmError(f"{whose} cannot be read at line {reader.line_num}: {error}.") from None
