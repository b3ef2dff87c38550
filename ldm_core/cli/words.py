"""Docstrings as a terminal shows them."""

from __future__ import annotations

import re


def without_marks(text: str) -> str:
    """A text whose names stand in quotes, not between backticks as pages have them."""
    return re.sub(r"(`{1,2})([^`]+)\1", r"'\2'", text)
