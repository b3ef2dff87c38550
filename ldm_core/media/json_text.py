"""JSON that any file can hold."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

DEEPEST = 50
"""Tables and lists inside one another."""


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON in plain letters; escaped where it holds what is no Unicode, as the name of
    a file may. Numbers that are not finite, which JSON has none of, are text: ``inf``, ``nan``."""
    try:
        text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    except ValueError:
        value = _finite(value)
        text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def read_json_text(text: str) -> Any:
    """JSON of plain values, whoever wrote it: finite numbers of 64 bits, and text that has no
    control characters but the ends of lines and tabs.

    Raises:
        ValueError: it is none, or tables and lists lie deeper than `DEEPEST`; the message says
            where.
    """
    try:
        whole = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError(f"it is deeper than {DEEPEST} tables and lists in one another") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    pending: list[tuple[tuple[Any, ...], Any]] = [((), whole)]
    while pending:
        keys, value = pending.pop()
        if fault := _fault(value):
            raise ValueError(f"{where(keys)} {fault}")
        if len(keys) > DEEPEST:
            raise ValueError(f"{where(keys[:3])} is deeper than {DEEPEST} tables and lists")
        pending += [((*keys, key), entry) for key, entry in _entries(value)]
    return whole


def where(keys: tuple[Any, ...]) -> str:
    """The place of a value in tables and lists, as ``inputs.prompt``, in letters that a terminal
    can show."""
    text = ".".join(str(key) for key in keys)
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f"{text[:80]}…" if len(text) > 80 else text or "it"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {_finite(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield key, entry
            if fault := _fault(key):
                raise ValueError(f"a name in it {fault}")
    elif isinstance(value, list):
        yield from enumerate(value)


def _fault(value: Any) -> str | None:
    """What is wrong with a value by itself."""
    if isinstance(value, str):
        try:
            value.encode("utf-8", "surrogateescape")  # as the name of a file may be
        except UnicodeEncodeError:
            return "holds half a letter (a lone surrogate)"
        if any(letter < " " and letter not in "\t\n\r" for letter in value):
            return "holds control characters"
    elif isinstance(value, float) and not math.isfinite(value):
        return "is a number too large"
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "is a number of more than 64 bits"
    return None


def _no_number(word: str) -> None:
    raise ValueError(f"it has no {word}")
