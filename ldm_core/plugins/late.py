"""What a plugin module left behind when it was imported, such as a thread, may change what others
use later, when nobody called it."""

from __future__ import annotations

import warnings

from ldm_core.errors import PutBackWarning
from ldm_core.plugins.surroundings import Surroundings

_listed: list[Surroundings] = []
"""As they were before plugins were listed, until it is told what was changed since."""
_began: set[str] = set()
"""Packages that began threads at their import, which may have ended."""


def listing_in(surroundings: Surroundings) -> None:
    """Keep in mind as what plugins are listed in."""
    _listed[:] = [surroundings]


def began_threads(whose: str) -> None:
    """Keep in mind who began threads."""
    _began.add(whose)


def anyone_began() -> bool:
    """Whether a package began threads at its import."""
    return bool(_began)


def left_behind() -> str:
    """What may change something later that nobody called, in words."""
    return f"what {' or '.join(sorted(_began)) or 'a package'} left behind at its import"


def tell_late(*, over: bool = False) -> None:
    """Say what was changed by that, which is put back.

    Args:
        over: all are listed; what changes from now on is not looked at here.
    """
    for changed in (what for one in _listed for what in one.late()):
        text = f"{left_behind()} changed {changed}; it is put back."
        warnings.warn(PutBackWarning(text), stacklevel=2)
    if over:
        _listed.clear()
