"""Errors that came after a part changed what all compute with, which are that part's failures
wherever they were raised: in a network, or in ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ldm_core.errors import (
    LdmError,
    MachineError,
    NotFiniteError,
    PartError,
    PluginError,
    add_note,
    cause_of,
    notes_of,
)
from ldm_core.machine import machine_error
from ldm_core.plugins.contents import few

AFTER, CHANGED = "it came after ", " had changed "
"""How a note on such an error begins, and what is said between who and what."""
TOLD = (PluginError, MachineError, NotFiniteError, PartError)
"""Errors that say themselves whose they are."""


def came_after(error: BaseException, whose: Callable[[], str], changed: Sequence[str]) -> None:
    """Note on an error, which nobody explained yet, what was changed before it.

    Args:
        whose: in words, who changed it.
        changed: in words, what, which was put back; nothing where that is so.
    """
    if not changed or not isinstance(error, Exception) or isinstance(error, TOLD):
        return
    if isinstance(error, LdmError):  # a person's bad input, but where it came from another error
        cause = cause_of(error)
        if cause is None or isinstance(cause, LdmError):
            return
    if whose_change(error) is None and machine_error(error) is None:
        add_note(error, f"{AFTER}{whose()}{CHANGED}{few([*changed])}")


def whose_change(error: BaseException) -> str | None:
    """Who changed what all compute with before an error came, in words; None where nobody did."""
    notes = (one for one in notes_of(error) if one.startswith(AFTER) and CHANGED in one)
    return next((note.removeprefix(AFTER).partition(CHANGED)[0] for note in notes), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was raised from or while they were handled."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause_of(cause)
