"""What the person allows beside what they typed: a flag says it, or their answer on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import typer

from ldm_core.cli.inputs import parse_value
from ldm_core.model.hub import as_file, as_folder
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
    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
        return False
    return typer.confirm(question, default=False, err=True)


def _is_terminal(stream: Any) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


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
