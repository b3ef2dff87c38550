"""Docstrings as a terminal shows them."""

from __future__ import annotations

import re

LONGEST = 20_000
"""Letters of a help, which a terminal would take minutes to lay out in lines beyond."""


def without_marks(text: str) -> str:
    """A text whose names stand in quotes, not between backticks as pages have them."""
    return re.sub(r"(`{1,2})([^`]+)\1", r"'\2'", text)


def as_text(text: str) -> str:
    """Any text as a terminal can show it."""
    return without_marks(text).encode("utf-8", "replace").decode()


def as_help(text: str) -> str:
    """A text as a command's help, where what stands in brackets would steer how it looks, what is
    no text cannot be printed, and a line break would stand in the midst of a sentence."""
    text = re.sub(r"(\\*)(\[[a-zA-Z/@#][^[]*?\])", r"\1\1\\\2", as_text(text[:LONGEST]))
    return re.sub(r"(?<=\S)\n(?=[^\s*-])", " ", text)
