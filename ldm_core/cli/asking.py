"""What the person allows beside what they typed: a flag says it, or their answer on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldm_core.composition.recipe import read_value
from ldm_core.errors import LdmError
from ldm_core.model.hub import as_file, as_folder, is_cached
from ldm_core.model.hub_permission import HubPermission
from ldm_core.model.lora import as_lora

if TYPE_CHECKING:
    from ldm_core.composition.reach import Reach

AllowHubOption = Annotated[
    bool,
    typer.Option(
        "--allow-hub", help="Also ask the Hub for names that a file gives, and no person."
    ),
]


def answered(question: str) -> bool:
    """Whether the person says yes; no where no person is there to be asked."""
    try:
        return can_ask() and typer.confirm(question, default=False, err=True)
    except typer.Abort:
        return False


def can_ask() -> bool:
    """Whether a person is there to be asked."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def is_terminal(stream: Any) -> bool:
    """Whether a stream is there, and a person at its end."""
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
        LdmError: something is not allowed; all of it is named. Nothing of it is read before.
    """
    reach.own_recipes(folder)
    agreed = _allow(reach, folder, files, hub, frozenset())
    while reach.own_recipes():  # of models that may be read now
        agreed = _allow(reach, folder, files, hub, agreed)
    return frozenset(name.id for name in reach.hub)


def _allow(
    reach: Reach, folder: Path, files: bool, hub: bool, agreed: frozenset[str]
) -> frozenset[str]:
    """What is allowed in all.

    Args:
        agreed: what was before.
    """
    absent = {name for name in reach.hub if not is_cached(name)}
    outside = {f"the file {path}" for path in reach.outside(folder)} - agreed
    remote = {f"{name} of the Hub" for name in absent} - agreed
    others = {f"{n} of the Hub, from its cache" for n in reach.hub - absent}
    others |= {
        f"plugins of {plugin.distribution} {plugin.version}"
        for plugin in reach.plugins
        if plugin.distribution != "ldm-core"
    }
    flags = {"--allow-files": set() if files else outside, "--allow-hub": set() if hub else remote}
    refused = [words for several in flags.values() for words in sorted(several)]
    if not refused or can_ask():
        for words in [*sorted(others - agreed), *sorted(outside), *sorted(remote)]:
            typer.echo(f"the manifest asks for {words}", err=True)
    if refused and not answered("is it to have that?"):
        raise LdmError(
            f"the manifest asks for what does not lie beside it: {', '.join(refused)}.",
            f"{' and '.join(flag for flag, several in flags.items() if several)} allows it; look "
            "at it first where the file is not your own.",
        )
    return agreed | others | outside | remote


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
    names = names_in(read_value(value)) if equals else frozenset()
    hub = as_folder(typed) or as_file(as_lora(typed)["path"])
    return names if hub is None else names | {hub.id}
