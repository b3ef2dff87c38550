"""What a person is told when something they asked for cannot be had."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LdmError(ValueError):
    """Bad input, found before any weight is loaded where that is possible.

    Args:
        message: what is wrong and what would be right, in one or two sentences.
        hint: where to look, such as a command that lists the choices.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n  {hint}" if hint else message)
        self.message = message
        self.hint = hint


class MachineError(LdmError):
    """What the machine refuses: a full or read-only disk, memory, a folder that vanished, an
    output that is closed. It says what is on disk."""


class NotFiniteError(LdmError):
    """Something came out that is no number: weights, latents or pixels."""


class LdmWarning(UserWarning):
    """Something that is done, though perhaps not as it was meant; the command line shows these."""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the nearest of some words, or nothing."""
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
