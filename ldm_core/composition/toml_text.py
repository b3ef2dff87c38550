"""A recipe as TOML text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ldm_core.composition.recipe import Layer, is_ready_made
from ldm_core.errors import LdmError
from ldm_core.values import brief


def as_toml(layer: Layer, comments: Iterable[str] = ()) -> str:
    """The text that `read_recipe` reads as this layer.

    Args:
        comments: lines that stand above it.
    Raises:
        LdmError: a part of it is an object made in Python, which no text stands for.
    """
    lines = [f"# {line}" for comment in comments for line in comment.splitlines()]
    lines += [f"{_key(key)} = {written_value(value)}" for key, value in layer.items()]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if plain else _text(name)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def written_value(value: Any) -> str:
    """A value as TOML, in one line; `LdmError` where it is none that TOML has."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):  # repr has a point or an exponent, or is inf or nan
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        entries = (f"{_key(k)} = {written_value(v)}" for k, v in value.items() if v is not None)
        return "{ " + ", ".join(entries) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written_value, value)) + "]"
    what = "made in Python" if is_ready_made(value) else "none that TOML has"
    raise LdmError(f"a recipe file cannot hold {brief(value)}, which is {what}.")
