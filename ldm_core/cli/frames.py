"""``--frames``: a folder takes a picture of each step, and a number is the length of a video."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand

from ldm_core.errors import LdmError

FRAMES, STEPS_TO = "--frames", "--steps-to"
WRITTEN = f"a folder for the pictures of the steps is written with a slash, as {FRAMES} steps/"


class Command(TyperCommand):
    """A command, in which ``--frames FOLDER/`` stands for ``--steps-to FOLDER/`` where it has that
    and no ``--frames`` of its own."""

    has_lengths = False
    """Whether a number of frames may be said too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self.with_steps_to(args))

    def with_steps_to(self, args: list[str]) -> list[str]:
        """Arguments in which a folder of ``--frames`` is that of ``--steps-to``.

        Raises:
            LdmError: it is neither a folder nor a length, or there are two folders.
        """
        own = {name for param in self.params for name in param.opts}
        if STEPS_TO not in own or FRAMES in own:
            return args
        return [*_with_steps_to(args, self.has_lengths)]


def names_folder(text: str) -> bool:
    """Whether a text is plainly a folder: with a slash, no number is."""
    return any(slash in text for slash in ("/", os.sep))


def _with_steps_to(args: list[str], has_lengths: bool) -> Iterator[str]:
    rest, folders = iter(args), 0
    for arg in rest:
        if arg == "--":
            yield from (arg, *rest)
            return
        name, equals, value = arg.partition("=")
        if name == FRAMES:
            value = value if equals else next(rest, "")
            if names_folder(value):
                name, arg = STEPS_TO, f"{STEPS_TO}={value}"
            elif has_lengths:
                arg = f"{FRAMES}={value}"
            else:
                raise LdmError(f"'{value}' is no folder, and nothing has frames here.", WRITTEN)
        folders += name == STEPS_TO
        if folders > 1:
            raise LdmError(f"a folder for the pictures of the steps is named {folders} times.")
        yield arg
