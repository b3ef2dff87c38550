"""Text as rows: a prompt a line, separated values, and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.jobs.lines import Read, Row
from ldm_core.media.json_text import read_json_text
from ldm_core.values import type_name


def prompts(text: str) -> Iterator[Row]:
    """A prompt a line."""
    for number, line in _numbered(text):
        if line.strip():
            yield number, {"prompt": line.strip()}


def comma_separated(text: str) -> Iterator[Row]:
    """Columns with a comma between them, RFC 4180."""
    return _separated(text, ",", "commas")


def tab_separated(text: str) -> Iterator[Row]:
    """Columns with a tab between them."""
    return _separated(text, "\t", "tabs")


def _separated(text: str, delimiter: str, separators: str) -> Iterator[Row]:
    # lines may end within quotes, so that csv has to see their ends as they are
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise LdmError(
                f"line {number} cannot be read as values with {separators} between them: {error}.",
                'a value with such a letter, a quote or more lines stands in quotes: "a ""b"", c"',
            ) from None
        if row is None:
            return
        if not any(cell.strip() for cell in row):
            continue
        if names is None:
            names = _checked([cell.strip() for cell in row], number, separators)
        elif len(row) != len(names):
            yield number, f"it has {len(row)} values, and there are {len(names)} columns"
        else:
            pairs = zip(names, row, strict=True)
            yield number, {name: cell if cell.strip() else None for name, cell in pairs}


def _checked(names: list[str], number: int, separators: str) -> list[str]:
    """The names of columns, each once."""
    for place, name in enumerate(names, 1):
        if not name:
            raise LdmError(
                f"column {place} has no name in line {number}, which names the columns.",
                f"columns have {separators} between them.",
            )
    for name, count in Counter(names).items():
        if count > 1:
            raise LdmError(f"there are {count} columns '{name}'; leave one.")
    return names


def json_lines(text: str) -> Iterator[Row]:
    """A JSON table a line."""
    for number, line in _numbered(text):
        if line.strip():
            yield number, _table(line)


def _table(line: str) -> Mapping[str, Any] | str:
    try:
        value = _decoder.decode(line)
        if "\\" in line or not _is_plain(value):
            value = read_json_text(line)
    except RecursionError:
        return "its tables and lists lie too deep in one another"
    except ValueError as error:
        return str(error) if isinstance(error, _Twice) else f"it is no JSON: {error}"
    if not isinstance(value, dict):
        return f"it should be a table, as {{...}}, and is {type_name(type(value))}"
    return value


class _Twice(ValueError):
    """A table says something twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        (name, count), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise _Twice(f"it says '{name}' {count} times")
    return table


def _no_number(word: str) -> None:
    raise ValueError(f"it has no {word}")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)


def _is_plain(value: Any) -> bool:
    """Whether a table has nothing in it that would have to be looked at."""
    return isinstance(value, dict) and all(
        entry is None
        or isinstance(entry, str | bool)
        or (isinstance(entry, int) and abs(entry) < 2**63)
        or (isinstance(entry, float) and math.isfinite(entry))
        for entry in value.values()
    )


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    """Lines by their numbers, however they end."""
    return enumerate(io.StringIO(text, newline=None), 1)


READERS: Mapping[str, Read] = {
    ".txt": prompts,
    ".csv": comma_separated,
    ".tsv": tab_separated,
    ".jsonl": json_lines,
    ".ndjson": json_lines,
}
"""What reads a file whose name ends so."""
