"""Read the house's docstrings as Google's: no blank lines between sections, shared entries."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object


class HouseDocstrings(Extension):
    """Write each docstring out in full before it is parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = spelt_out(obj.docstring.value)


def spelt_out(text: str) -> str:
    """The docstring with a blank line before each section, and one entry for each name."""
    text = re.sub(r"(?m)^(\s+\S.*)\n(?=[A-Z]\w*: |[A-Z]\w*:$)", r"\1\n\n", text)
    entry = r"(?m)^( {4})(\w+(?:, \w+)+):(.*(?:\n {5,}\S.*)*)"
    return re.sub(entry, _one_each, text).replace("::\n", ":\n")


def _one_each(found: re.Match[str]) -> str:
    indent, names, rest = found.groups()
    return "\n".join(f"{indent}{name}:{rest}" for name in names.split(", "))
