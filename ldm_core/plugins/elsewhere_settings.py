"""What settings of a class of another program, as ``use_karras_sigmas=True``, choose here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ANY = "*"
"""In a setting, any number; in what it adds, that number."""
NUMBER = re.compile(r"\d{1,9}(\.\d{0,9})?")
Choices = Mapping[str, Mapping[str, Any]]


def with_settings(
    use: Choices, known: Mapping[str, Choices], settings: list[str]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What is chosen with settings, and those of them that are not carried over.

    Args:
        use: what is chosen without any.
        known: what settings add, by their words, of which several stand for these together.
        settings: each ``name=value``.
    """
    chosen: dict[str, Any] = {}  # names of plugins, by kind
    said: set[str] = set()
    result = {kind: dict(choice) for kind, choice in use.items()}
    given = dict(map(_setting, settings))
    for words, added in sorted(known.items(), key=lambda item: -len(item[0].split())):
        wanted = dict(map(_setting, words.split()))
        fits = all(_fits(value, given.get(name)) for name, value in wanted.items())
        if not fits or {*wanted} <= said:
            continue
        number = next((given[name] for name, value in wanted.items() if value == ANY), "")
        if number and any(chosen.get(k, c.get("name")) != c.get("name") for k, c in added.items()):
            continue  # another setting chose another spacing
        said |= {*wanted}
        for kind, choice in added.items():
            filled = {k: float(number) if v == ANY else v for k, v in choice.items()}
            before, name = result.get(kind, {}), filled.get("name")
            result[kind] = {**before, **filled} if name in (None, before.get("name")) else filled
            chosen |= {kind: name} if name else {}
    return result, [word for word in settings if _setting(word)[0] not in said]


def _setting(word: str) -> tuple[str, str]:
    """The name and the value of a setting."""
    name, _, value = word.replace("'", "").replace('"', "").casefold().partition("=")
    return name, value


def _fits(wanted: str, value: str | None) -> bool:
    if value is None or wanted != ANY:
        return value == wanted
    return NUMBER.fullmatch(value) is not None
