"""Names of elsewhere in words: the flags that they stand for, and what an error says of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ldm_core.plugins.elsewhere import CHOICES, NameElsewhere, looked_up, plain, tables_of
from ldm_core.plugins.registry import Registry

FIND = "`ldm plugins find NAME` says what a name of another program is here."
ARGUMENT_FLAGS = {"num_inference_steps": "--steps", "num_images_per_prompt": "--num-images"}
"""Flags of arguments that have another name."""
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


def in_words(hit: NameElsewhere, flags: Collection[str] = ()) -> str:
    """What a name stands for, in one sentence or two.

    Args:
        flags: those of a command, by which an argument is then named.
    """
    if hit.kind == "argument":
        flag = ARGUMENT_FLAGS.get(hit.instead, f"--{hit.instead.replace('_', '-')}")
        ours = flag if flag in flags else hit.instead
        here = f"here, it is {ours}." if ours else "it has no counterpart here."
        return " ".join(filter(None, (here[:1].upper() + here[1:], hit.note)))
    typed = flags_of(hit.use)
    if hit.missing:
        return f"{hit.missing} Nearest: {typed}" if typed else hit.missing
    return typed or hit.note


def said_of(
    name: str,
    kind: str,
    registry: Registry,
    ours: Iterable[str] = (),
    flags: Collection[str] = (),
) -> str:
    """What an error says of a name that is none of ours, as `` In A1111, this is --scheduler
    pndm.``; nothing where nobody has it.

    A name that is no plugin of this kind is looked for in the other kinds: what is a spacing here
    is a scheduler in ComfyUI.

    Args:
        ours: our names, of which one that is written otherwise comes first.
        flags: see `in_words`.
    """
    alike = [other for other in ours if plain(other) == plain(name)]
    if alike:
        return f" Did you mean '{min(alike)}'?"
    tables = tables_of(registry)[0]
    hits = looked_up(name, tables, kind)
    if not hits and kind != "argument":
        if other := _of_another_kind(name, kind, registry):
            return other
        hits = [h for h in looked_up(name, tables) if kind in CHOICES and h.kind in CHOICES]
    sources: dict[str, list[str]] = {}
    for hit in hits:
        sources.setdefault(in_words(hit, flags).rstrip("."), []).append(hit.source)
    words = [_of(sources[what], what, kind) for what in sources]
    return "".join(f" {one}" for one in words[:SHOWN])


def _of_another_kind(name: str, kind: str, registry: Registry) -> str:
    """What an error says of a name of ours that is given as another kind of plugin."""
    found = {
        p.kind: p.name for p in registry.plugins if p.kind != kind and plain(p.name) == plain(name)
    }
    for other in sorted(found, key=lambda one: (one not in CHOICES, one)):
        flag = f": --{other} {found[other]}" if other in CHOICES else ""
        return f" '{found[other]}' is a plugin of the kind {other}{flag}."
    return ""


def argument_said(name: str, flags: Collection[str] = ()) -> str:
    """What an error says of an argument that is none of ours, where no registry is at hand.

    Args:
        flags: see `in_words`.
    """
    from ldm_core.plugins.discovery import installed, is_listing

    if is_listing():  # of a plugin module's call, and what others offer is not yet known
        return ""
    return said_of(name, "argument", installed(), flags=flags)


def _of(sources: Iterable[str], what: str, kind: str) -> str:
    titles = list(dict.fromkeys(sources))
    whose = " and ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))
    if kind == "argument":
        return f"It is an argument of {whose}. {what}."
    if what.startswith("--"):
        return f"In {whose}, this is {what}."
    return f"It is of {whose}. {what}."


def why_not_opened(pipeline: str, registry: Registry) -> str:
    """Why no family opens models of this class; nothing where no table says it."""
    hits = looked_up(pipeline, tables_of(registry)[0], "model")
    return next((hit.note for hit in hits if pipeline in (hit.name, *hit.also)), "")
