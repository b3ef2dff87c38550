"""Options of a choice over those below, also of plugins that lie in an option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.values import brief

DEEPEST = 20
"""Plugins within one another that an option's name goes through."""


def options_over(lower: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """Options over those below. A plugin in an option goes on where the one over it has no name, as
    ``{inner = {order = 2}}`` over ``{inner = "lms"}``."""
    result = {**lower, **value}
    for option in lower.keys() & value.keys():
        below, over = lower[option], value[option]
        if isinstance(below, str):
            below = {"name": below}
        nameless = isinstance(over, Mapping) and "name" not in over
        if nameless and isinstance(below, Mapping) and "name" in below:
            result[option] = options_over(below, over)
    return result


def at_path(path: str, value: Any) -> dict[str, Any]:
    """The options of a choice in which one, that may lie in a plugin of another, has a value:
    ``inner.order`` is ``{"inner": {"order": value}}``.

    Raises:
        LdmError: it goes through more plugins than `DEEPEST`.
    """
    names = path.split(".", DEEPEST + 1)
    if len(names) > DEEPEST:
        raise LdmError(f"the option {brief(path)} goes through more than {DEEPEST} plugins.")
    for name in reversed(names):
        value = {name.strip(): value}
    made: dict[str, Any] = value
    return made
