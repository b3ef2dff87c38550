"""What the person allows beside what they typed: a flag says it, or their answer on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from ldm_core.cli.inputs import parse_value
from ldm_core.composition.reach import Reach
from ldm_core.errors import LdmError
from ldm_core.model.hub import as_file, as_folder, is_cached
from ldm_core.model.hub_permission import HubPermission
from ldm_core.model.lora import as_lora

AllowHubOption = Annotated[
    bool,
    typer.Option(
        "--allow-hub", help="Also ask the Hub for names that a file gives, and no person."
    ),
]


def answered(question: str) -> bool:
    """Whether the person says yes; no where no person is there to be asked."""
    return can_ask() and typer.confirm(question, default=False, err=True)


def can_ask() -> bool:
    """Whether a person is there to be asked."""
    return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)


def _is_terminal(stream: Any) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def allow(reach: Reach, folder: Path, files: bool, hub: bool) -> frozenset[str]:
    """Say what a picture asks for, and see that the person allows it.

    Args:
        folder: the picture's own, in which it may read.
        files: the person lets it read all other files.
        hub: the person lets it ask the Hub.
    Returns:
        The repositories that may be asked for.
    Raises:
        LdmError: something is not allowed; all of it is named. Nothing is read before.
    """
    outside = [f"the file {path}" for path in reach.outside(folder)]
    absent = {name for name in reach.hub if not is_cached(name)}
    remote = [f"{name} of the Hub" for name in sorted(absent, key=str)]
    cached = [f"{n} of the Hub, from its cache" for n in sorted(reach.hub - absent, key=str)]
    owners = sorted({f"plugins of {p.distribution} {p.version}" for p in reach.plugins})
    others = [owner for owner in owners if not owner.startswith("plugins of ldm-core ")]
    needed = {
        "--allow-files": outside if not files else [],
        "--allow-hub": remote if not hub else [],
    }
    refused = [words for several in needed.values() for words in several]
    if not refused or can_ask():
        for words in (*others, *outside, *cached, *remote):
            typer.echo(f"the picture asks for {words}", err=True)
    if refused and not answered("is it to have that?"):
        flags = " and ".join(flag for flag, several in needed.items() if several)
        raise LdmError(
            f"the picture asks for what does not lie beside it: {', '.join(refused)}.",
            f"{flags} allows it; look at it first where the picture is not your own.",
        )
    return frozenset(name.id for name in absent)


def hub_for(typed: list[Any], everything: bool = False) -> HubPermission:
    """Leave to ask the Hub for what was typed; for other names the person is asked.

    Args:
        typed: values of options and arguments, see `names_in`.
        everything: ask for all other names too.
    """

    @cache
    def ask(id: str) -> bool:
        return answered(f"a file names '{id}', which is not on this machine; ask the Hub for it?")

    return HubPermission(names_in(typed), everything, ask)


def names_in(typed: Any) -> frozenset[str]:
    """The repositories ``owner/name`` that values name: text as a whole, also in lists and tables,
    with a LoRA's ``:scale`` behind it, and behind the ``=`` of ``hook.option=value``."""
    if isinstance(typed, Mapping):
        typed = list(typed.values())
    if not isinstance(typed, str):
        several = typed if isinstance(typed, list | tuple) else ()
        return frozenset().union(*map(names_in, several))
    _, equals, value = typed.partition("=")
    names = names_in(parse_value(value)) if equals else frozenset()
    hub = as_folder(typed) or as_file(as_lora(typed)["path"])
    return names if hub is None else names | {hub.id}
