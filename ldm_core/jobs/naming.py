"""The names of a job's files: fixed by the line, and each one's own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.media.names_everywhere import why_not_everywhere

DEFAULT = "{index:05d}-{seed}"
"""The template where none is given."""
WORDS = 60
"""Letters of a prompt in a name."""
LONGEST = 200
"""Bytes of a name without its suffix."""
OF_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".wav")


@dataclass(frozen=True)
class Template:
    """How names are made, such as ``{index:05d}-{seed}``.

    Args:
        text: with fields ``index``, ``line``, ``seed``, ``prompt``, or a column's name.
        columns: of the file.
    Raises:
        LdmError: it is no template, or names what there is not.
    """

    text: str
    columns: frozenset[str]
    fields: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        try:
            parts = list(Formatter().parse(self.text))
        except ValueError as error:
            raise LdmError(f"--name '{self.text}' cannot be read: {error}.") from None
        names = [name for _, name, _, _ in parts if name is not None]
        there = {"index", "line", "seed", "prompt", *self.columns}
        for name in names:
            if name not in there:
                raise LdmError(
                    f"--name has '{{{name}}}', and there is no such column."
                    f"{did_you_mean(name, there)}",
                    f"it can have {', '.join(sorted(there))}.",
                )
        object.__setattr__(self, "fields", frozenset(names))
        if any(conversion for *_, conversion in parts):
            raise LdmError(f"--name '{self.text}' has a '!', which fields do not take.")
        if any("{" in (form or "") for _, _, form, _ in parts):
            raise LdmError(f"--name '{self.text}' has a field within another.")

    def name(self, index: int, line: int, seed: int, values: Mapping[str, Any]) -> str:
        """The name of one picture, without its suffix.

        Raises:
            LdmError: a value cannot be written as the template wants it, or is not given.
        """
        fields: dict[str, Any] = {"index": index, "line": line, "seed": seed}
        for name in self.fields - fields.keys():
            if name == "prompt":
                fields[name] = words(str(values.get(name, "")))
            elif values.get(name) is not None:
                fields[name] = _as_word(values[name])
        try:
            return self.text.format_map(fields)
        except KeyError as error:
            raise LdmError(f"its name needs {error}, which it does not say") from None
        except (ValueError, TypeError) as error:
            raise LdmError(f"its name '{self.text}' cannot be made: {error}") from None


def _as_word(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else words(str(value))


def words(text: str) -> str:
    """The words of a prompt as a file's name has them."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:WORDS].rstrip("-")


def checked_name(name: str, suffix: str) -> str:
    """A file's name without its suffix, seen to be one.

    Raises:
        LdmError: it leads elsewhere, is hidden, too long, of another kind of file, or a name that
            some system does not take.
    """
    stem = name.removesuffix(suffix)
    if not stem.strip() or stem in (".", ".."):
        raise LdmError(f"the file_name '{name}' is empty" if not stem.strip() else _elsewhere(name))
    if "/" in stem or "\\" in stem:
        raise LdmError(_elsewhere(name))
    if stem.startswith("."):
        raise LdmError(f"the file_name '{name}' begins with a dot, and would be hidden")
    if not stem.isprintable():
        raise LdmError(f"the file_name {name!r} has letters that cannot be shown")
    if stem.lower().endswith(OF_PICTURES):
        other = next(end for end in OF_PICTURES if stem.lower().endswith(end))
        raise LdmError(f"the file_name '{name}' ends in {other}, and the files are {suffix}")
    if reason := why_not_everywhere(stem):
        raise LdmError(f"the file_name '{name}' {reason}; it should be one on every system")
    length = len(stem.encode("utf-8", "surrogatepass"))
    if length > LONGEST:
        raise LdmError(f"the file_name '{name[:40]}…' has {length} bytes; {LONGEST} are the most")
    return stem


def _elsewhere(name: str) -> str:
    return f"the file_name '{name}' leads into another folder; it should be a name alone"


def key_of(name: str) -> str:
    """What two names have in common that some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def twice(names: Iterable[tuple[int, str]]) -> dict[int, int]:
    """Places of names that some file system takes for one before, with that one's place."""
    first: dict[str, int] = {}
    again: dict[int, int] = {}
    for place, name in names:
        other = first.setdefault(key_of(name), place)
        if other != place:
            again[place] = other
    return again
