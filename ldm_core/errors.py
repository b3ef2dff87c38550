"""What a person is told when something they asked for cannot be had."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any


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
    output that is closed. It says what is on disk.

    Attributes:
        output: of a call, the `Output` of the images that were made before; None where there are
            none.
    """

    output: Any = None


class TooLittleMemory(MachineError):
    """The memory does not suffice, however small the batch is."""


class NotFiniteError(LdmError):
    """What was computed is not finite (NaN or infinite), so that some of what was asked for could
    not be made; the rest is kept here.

    Args:
        output: what came out right: of a call the `Output` of the other images, of an encoder
            their latents; None where there is nothing.
        failures: one for each image that did not.
    """

    def __init__(
        self, message: str, hint: str = "", output: Any = None, failures: Sequence[Any] = ()
    ) -> None:
        super().__init__(message, hint)
        self.output = output
        self.failures = tuple(failures)


class PartError(LdmError):
    """What a part gave is not what its contract says. Of a part that another package brings, it
    becomes a `PluginError`.

    Args:
        part: as the core holds it.
    """

    def __init__(self, part: Any, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.part = part


class PluginError(LdmError):
    """What left the code of a plugin that another package brings: a failure of that package, no
    matter of what a person asked for. ``__cause__`` is what was raised.

    Args:
        plugin: whose, as ``the scheduler 'mine' of the package ldm-mine 0.2``.
        doing: what it was doing, as ``while it was imported`` or ``at step 4 of 10``.
        cause: what was raised.

    Attributes:
        output: of a call, the `Output` of the images that were made before; None where there are
            none.
    """

    output: Any = None

    def __init__(self, plugin: str, doing: str, cause: BaseException) -> None:
        what = message_and_hint(cause)[0] if isinstance(cause, LdmError) else with_class(cause)
        what = printable(" ".join(what.split()))
        super().__init__(
            f"{plugin} failed {doing}: {what}",
            "it is for that package to mend; LDM_TRACEBACK=1 in the environment shows where.",
        )
        self.plugin = plugin
        self.doing = doing


class LdmWarning(UserWarning):
    """Something that is done, though perhaps not as it was meant; the command line shows these."""


class PutBackWarning(LdmWarning):
    """What a package changed that others use too, and which is put back."""


class LdmNote(LdmWarning):
    """What was chosen where a person left the choice to the program."""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the nearest of some words, or nothing."""
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""


def cause_of(error: BaseException, hidden: bool = False) -> BaseException | None:
    """The error that one was raised from or while it was handled, whatever its class makes of those
    attributes.

    Args:
        hidden: also one that ``from None`` keeps from being shown.
    """
    slots = vars(BaseException)
    cause: BaseException | None = slots["__cause__"].__get__(error)
    if cause is None and (hidden or not slots["__suppress_context__"].__get__(error)):
        cause = slots["__context__"].__get__(error)
    return None if cause is None else plainly(cause)


OURS = frozenset({"ldm_core", "ldm_plugins", "ldm_pipelines"})
"""Our own packages."""


def notes_of(error: BaseException) -> list[str]:
    """What was noted on an error, whatever its class makes of that."""
    try:
        return [one for one in vars(error).get("__notes__", ()) if type(one) is str]
    except Exception:  # they are another package's, and no notes
        return []


def add_note(error: BaseException, text: str) -> None:
    """Note something on an error, also on one whose notes are none that can be added to."""
    try:
        error.add_note(text)
    except Exception:
        with suppress(Exception):
            vars(error)["__notes__"] = [*notes_of(error), text]


def plainly(error: BaseException) -> BaseException:
    """An error, or where its class makes up of which class it is, one that says so in its place:
    whatever asks that would run code of another package."""
    if not any("__class__" in vars(one) for one in type.mro(type(error)) if one is not object):
        return error
    plain = TypeError(f"{printable(type(error).__name__)} hides of which class it is")
    return plain.with_traceback(error.__traceback__)


def home_of(kind: type) -> str:
    """The top-level package that a class says it is from."""
    return str(kind.__module__).partition(".")[0]


def is_raised_by_us(error: BaseException) -> bool:
    """Whether an error was raised by our own code, and not by another's as if it had been. One that
    was never raised, or whose traceback is gone, is taken for ours."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is None or str(last.tb_frame.f_globals.get("__name__")).partition(".")[0] in OURS


LONGEST = 300
"""Letters of what is told of another's error."""


def printable(text: str) -> str:
    """A text without what would steer a terminal, such as the escapes that clear it."""
    if text.isprintable():  # as nearly all are
        return text
    return "".join(c if c.isprintable() or c in "\n\t\u00a0" else "\ufffd" for c in text)


def said(error: BaseException) -> str:
    """What an error says, in one line, which may be empty; it may be anybody's, and fail to say."""
    try:
        words = printable(" ".join(str(error).split()))
    except KeyboardInterrupt:
        raise
    except BaseException:  # even an end of the program
        return ""
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"


def message_and_hint(error: LdmError) -> tuple[str, str]:
    """What an error says is wrong, and where to look; also of one of another's class, which may
    have neither."""
    try:
        message, hint = error.message, error.hint
    except KeyboardInterrupt:
        raise
    except BaseException:  # even an end of the program
        return with_class(error), ""
    if type(message) is not str or type(hint) is not str:
        return with_class(error), ""
    return message, hint


def with_class(error: BaseException) -> str:
    """What an error says, in one line, after the name of its class."""
    words = said(error)
    name = printable(" ".join(type(error).__name__.split()))[:LONGEST]
    return f"{name}: {words}" if words else name


def in_full(error: BaseException) -> str:
    """What an error of ours says, with where to look, and another's after its class."""
    return str(error) if isinstance(error, LdmError) else with_class(error)
