"""Reading JSON that a stranger may have written, and what is said of files that are not read."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from ldm_core.errors import LdmError

PICKLE_RUNS = "which can run code when read and is not loaded."
CONVERT = (
    "convert it to safetensors where you trust it, with Diffusers' "
    "save_pretrained(safe_serialization=True)."
)
PICKLED = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")
LONGEST = 64 * 2**20
"""Bytes of a JSON file; the largest vocabularies have a half of it."""
DEEPEST = 64
"""So many lists and tables may lie in one another; configs have three or four."""
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder.

    Raises:
        LdmError: it is missing, no plain file, or broken; see `strict_json`.
    """
    try:
        content = strict_json(read_bytes(path), infinite=True)
    except FileNotFoundError:
        raise LdmError(f"the model folder lacks {path.parent.name}/{path.name}: {path}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, LdmError):
            raise
        raise LdmError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise LdmError(f"{path} should hold a JSON object.")
    return content


def read_bytes(path: Path, longest: int = LONGEST) -> bytes:
    """What a plain file holds.

    Raises:
        OSError: it cannot be read.
        LdmError: it is a pipe or a device, which may never end, or longer than this.
    """
    _check_plain(path, path.stat())  # before it is opened, which a device may hear of
    # without waiting for a writer, where a pipe has taken its place
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        _check_plain(path, about)
        size = about.st_size
        if size > longest:
            raise LdmError(f"{path} has {size} bytes; {longest} are the most that is read.")
        return file.read(size)  # what the system makes up as it is read has none


def _check_plain(path: Path, about: os.stat_result) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise LdmError(f"{path} is no plain file.")


def strict_json(data: bytes | str, *, infinite: bool = False) -> Any:
    """What JSON says, where it says one thing alone.

    Args:
        infinite: take -Infinity and Infinity, which Diffusers writes into its schedulers' configs.
    Raises:
        ValueError: it is no UTF-8 or no JSON, gives one key twice, holds a number that is not
            finite or a text that has no encoding, or is nested more deeply than 64 times.
    """
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    try:
        content = json.loads(
            text,
            object_pairs_hook=_table,
            parse_constant=_infinite if infinite else _not_finite,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(content)
    if SURROGATE.search(text):
        json.dumps(content, ensure_ascii=False).encode()  # UnicodeEncodeError, a ValueError
    return content


def _table(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"it says {key!r} twice")
        table[key] = value
    return table


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _not_finite(number)


def _infinite(number: str) -> float:
    return _not_finite(number) if number == "NaN" else float(number)


def _not_finite(number: str) -> NoReturn:
    raise ValueError(f"{number[:40]} is no finite number")


def _check_depth(content: Any) -> None:
    level = [[content]]
    for _ in range(DEEPEST):
        values = (value for inner in level for value in inner)
        level = [
            list(value.values()) if isinstance(value, dict) else value
            for value in values
            if isinstance(value, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} times")
