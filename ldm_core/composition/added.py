"""Lists of a recipe that add to those below: ``["...", "mine"]`` is what the layer below has, and
then ``mine``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MORE = "..."
"""An entry that stands for those of the layer below."""


def is_more(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a list, as a table, is `MORE`."""
    name = entry.get("name", entry.get("path"))
    return isinstance(name, str) and name == MORE


def joined(
    entries: Sequence[Mapping[str, Any]], below: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """A list over the one below, whose entries stand where it says so."""
    whole: list[Mapping[str, Any]] = []
    for entry in entries:
        whole += below if is_more(entry) else [entry]
    return whole


def settled(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A list with nothing below it."""
    return joined(entries, [])
