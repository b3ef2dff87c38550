"""How much memory a run may take, as a recipe says it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

AUTO = "auto"
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
UNITS |= {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
FORM = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?i?B)")


def size_in_bytes(text: str) -> int | None:
    """Bytes of ``8GiB``, ``6000 MiB`` or ``8GB``; None of ``auto``, which is what is free.

    Raises:
        ValueError: it has another form.
    """
    if text == AUTO:
        return None
    match = FORM.fullmatch(text.strip())
    if match is None or match[2] not in UNITS or float(match[1]) == 0:
        raise ValueError("it looks like 8GiB, 6000MiB or auto")
    return int(float(match[1]) * UNITS[match[2]])


def _checked(text: str) -> str:
    size_in_bytes(text)
    return text


MemorySize = Annotated[str, AfterValidator(_checked)]
"""A number of bytes with its unit, or ``auto``."""
