"""What a process has once for all that run in it, which no plugin is to change while it is used:
the working folder, which relative names of files mean, what later processes and files inherit, how
torch computes, the standard output, which belongs to results, what is said beside it, and what runs
are made with."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from ldm_core.errors import PutBackWarning
from ldm_core.machine import asked_to_stop
from ldm_core.plugins.aftermath import came_after, causes
from ldm_core.plugins.arithmetic import Arithmetic
from ldm_core.plugins.inherited import Environment, Rights
from ldm_core.plugins.interception import Modes, ModuleHooks
from ldm_core.plugins.itself import ends_where_forked
from ldm_core.plugins.lookup import Lookup
from ldm_core.plugins.timers import Timers
from ldm_core.plugins.voices import Voices


class Keeper(Protocol):
    """Keeps something as it was when it was made."""

    def put_back(self, changed: list[str]) -> None:
        """Have it so again, and say what was not."""


class Depth:
    """How deep calls may lie in each other."""

    def __init__(self) -> None:
        self._limit = sys.getrecursionlimit()

    def put_back(self, changed: list[str]) -> None:
        """Have it as it was, and say where it was not."""
        if sys.getrecursionlimit() != self._limit:
            changed.append("the recursion limit")
            sys.setrecursionlimit(self._limit)


class _Within(threading.local):
    """Whose code runs in this thread, in words."""

    def __init__(self) -> None:
        self.words: list[str] = []


_within = _Within()


@contextmanager
def kept_folder(whose: Callable[[], str]) -> Iterator[None]:
    """See that the working folder, the environment, the rights of new files, where modules are
    looked for and how torch computes are afterwards what they were; what was changed is put back,
    and that is said. Of calls within each other that is done once the outermost has ended.

    Args:
        whose: in words, who may have changed it.
    """
    word = whose()
    if word in _within.words:
        yield
        return
    _within.words.append(word)
    try:
        with _kept_once(whose):
            yield
    finally:
        _within.words.remove(word)


@contextmanager
def _kept_once(whose: Callable[[], str]) -> Iterator[None]:
    here = _folder()
    computing: list[Keeper] = [Modes(), Lookup(), Arithmetic(), ModuleHooks()]
    shared: list[Keeper] = [Environment(run=True), Rights(), Timers()]
    depth, changed = Depth(), list[str]()
    try:
        with kept_output(whose):
            try:
                yield
            finally:  # before anything else is called
                depth.put_back(changed)
    except BaseException as error:
        lowered = bool(changed) and any(isinstance(one, RecursionError) for one in causes(error))
        came = [*changed] if lowered else []
        for keeper in computing:
            keeper.put_back(came)
        changed += [what for what in came if what not in changed]
        came_after(error, whose, came)
        raise
    finally:
        for keeper in (*computing, *shared):
            keeper.put_back(changed)
        for what in changed:
            text = f"{what} was changed by {whose()}; it is put back."
            warnings.warn(PutBackWarning(text), stacklevel=3)
        now = _folder()
        if here and now != here:
            with suppress(OSError):  # it is gone, and there is nowhere to go back to
                os.chdir(here)
                what = f"the working folder was changed to {now or 'one that is gone'}"
                warnings.warn(PutBackWarning(f"{what} by {whose()}; it is put back."), stacklevel=3)


@contextmanager
def kept_output(whose: Callable[[], str]) -> Iterator[None]:
    """See that what is printed, logged and warned of is heard afterwards as it was, and that what
    runs are made with is as it was; what was changed is put back, and that is said.

    Args:
        whose: in words, who may have changed it.
    """
    from ldm_core.plugins.discovery import packages
    from ldm_core.plugins.meanwhile import nothing_replaced

    process = os.getpid()
    voices = Voices()
    stopped = False
    replaced: list[str] = []
    try:
        with nothing_replaced(whose, packages, replaced):
            yield
    except BaseException as error:
        stopped = asked_to_stop(error)  # of which how signals are heard is changed by ourselves
        came_after(error, whose, replaced)
        raise
    finally:
        ends_where_forked(process)
        for what in voices.put_back(signals=not stopped):
            warnings.warn(PutBackWarning(what.format(whose())), stacklevel=3)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""
