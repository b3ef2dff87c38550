"""Names of elsewhere in words: the flags that they stand for, and what an error says of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from ldm_core.plugins.elsewhere import NameElsewhere, looked_up, plain, tables_of
from ldm_core.plugins.registry import Registry

FIND = "`ldm plugins find NAME` says what a name of another program is here."
SHOWN = 3
"""Programs that an error names."""


def flags_of(use: Mapping[str, Mapping[str, Any]]) -> str:
    """What is typed for these choices: ``--scheduler dpmpp_2m --spacing karras``."""
    names = [f"--{kind} {choice['name']}" for kind, choice in use.items() if "name" in choice]
    settings = [
        f"--set {shlex.quote(f'{kind}.{option}={_written(value)}')}"
        for kind, choice in use.items()
        for option, value in choice.items()
        if option != "name"
    ]
    return " ".join([*names, *settings])


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def in_words(hit: NameElsewhere) -> str:
    """What a name stands for, in one sentence or two."""
    if hit.kind == "argument":
        here = f"here, it is {hit.instead}." if hit.instead else "it has no counterpart here."
        return " ".join(filter(None, (here[:1].upper() + here[1:], hit.note)))
    flags = flags_of(hit.use)
    if hit.missing:
        return f"{hit.missing} Nearest: {flags}" if flags else hit.missing
    return flags or hit.note


def said_of(name: str, kind: str, registry: Registry, ours: Iterable[str] = ()) -> str:
    """What an error says of a name that is none of ours, as `` In A1111, this is --scheduler
    pndm.``; nothing where nobody has it.

    Args:
        ours: our names, of which one that is written otherwise comes first.
    """
    alike = [other for other in ours if plain(other) == plain(name)]
    if alike:
        return f" Did you mean '{min(alike)}'?"
    hits = looked_up(name, tables_of(registry)[0], kind)
    sources: dict[str, list[str]] = {}
    for hit in hits:
        sources.setdefault(in_words(hit).rstrip("."), []).append(hit.source)
    words = [_of(sources[what], what, kind) for what in sources]
    return "".join(f" {one}" for one in words[:SHOWN])


def argument_said(name: str) -> str:
    """What an error says of an argument that is none of ours, where no registry is at hand."""
    from ldm_core.plugins.registry import installed

    return said_of(name, "argument", installed())


def _of(sources: Iterable[str], what: str, kind: str) -> str:
    titles = list(dict.fromkeys(sources))
    whose = " and ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))
    if kind == "argument":
        return f"It is an argument of {whose}. {what}."
    if what.startswith("--"):
        return f"In {whose}, this is {what}."
    return f"It is of {whose}. {what}."
