"""Docstrings as a terminal shows them."""

from __future__ import annotations

import re


def without_marks(text: str) -> str:
    """A text whose names stand in quotes, not between backticks as pages have them."""
    return re.sub(r"(`{1,2})([^`]+)\1", r"'\2'", text)


def as_text(text: str) -> str:
    """Any text as a terminal can show it."""
    return without_marks(text).encode("utf-8", "replace").decode()


def as_help(text: str) -> str:
    """A text as a command's help, where what stands in brackets would steer how it looks, and what
    is no text cannot be printed."""
    text = re.sub(r"(\\*)(\[[a-zA-Z/@#].*?\])", r"\1\1\\\2", as_text(text))
    return text
