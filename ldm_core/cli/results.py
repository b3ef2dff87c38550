"""What a command that draws by no pipeline returns: its results, of which each is a line."""

from __future__ import annotations

import warnings
from pathlib import PurePath

from ldm_core.cli.streams import print_line
from ldm_core.errors import LdmWarning
from ldm_core.values import brief


def print_results(owner: str, made: object) -> None:
    """Print text or a path that a command returned, or a list of them, on the standard output.

    Args:
        owner: the command, in words.
        made: what is none of that is told, and not printed; None is no result.
    """
    if made is None:
        return
    several = made if isinstance(made, list | tuple) else [made]
    for one in several:
        if isinstance(one, str | PurePath):
            print_line(str(one))
        else:
            text = f"{owner} returned {brief(one)}, which is neither text nor a path: not printed."
            warnings.warn(LdmWarning(text), stacklevel=2)
