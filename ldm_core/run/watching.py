"""Observers of a run: opened when it begins, closed when it ends, whatever they do."""

from __future__ import annotations

import os
import warnings
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from ldm_core.contracts import Observer, Step
from ldm_core.contracts.observer import Tell
from ldm_core.errors import LdmWarning, PartError, plainly, with_class
from ldm_core.numerics.grid import Grid
from ldm_core.plugins.itself import ends_where_forked
from ldm_core.plugins.owners import Owners
from ldm_core.run.checksum import state
from ldm_core.values import brief

BEGINNING, ENDING = "as a run began", "as a run ended"


def blaming(tell: Tell, observer: Observer, grid: Grid, owners: Owners) -> Tell:
    """What tells an observer of a step; where that is another package's and fails, or
    writes into what it is shown, it is said."""
    if owners.is_ours(observer):
        return tell

    def told(step: Step) -> None:
        before, process = (state(step.x), state(step.x0)), os.getpid()
        try:
            try:
                tell(step)
            finally:
                ends_where_forked(process)
            if (state(step.x), state(step.x0)) != before:
                raise PartError(
                    observer,
                    "an observer leaves x and x0 as they are, and it wrote "
                    "into what it was shown, which changes the picture.",
                )
        except BaseException as raised:
            error = plainly(raised)
            where = f"at step {step.index + 1} of {len(grid) - 1}"
            other = owners.told(error, where, observer, names=True)
            if other is None:
                raise
            raise other from error

    return told


class Watching(AbstractContextManager[Tell]):
    """An observer for one run.

    What a run raises goes on, whatever an observer makes of it: one that swallows errors ends no
    run in silence, and one that fails while another error is on its way is told in a warning.
    """

    def __init__(self, observer: Observer, grid: Grid, owners: Owners) -> None:
        self._observer = observer
        self._owners = owners
        self._grid = grid
        with owners.blamed(observer, BEGINNING):
            watch = observer.of_walk(grid)
        self._watch = watch

    def __enter__(self) -> Tell:
        with self._owners.blamed(self._observer, BEGINNING):
            tell: Any = self._watch.__enter__()
            if not callable(tell):
                raise PartError(
                    self._observer,
                    f"an observer's context gives a function of a step, and it gave {brief(tell)}.",
                )
        return blaming(tell, self._observer, self._grid, self._owners)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._owners.blamed(self._observer, ENDING):
                self._watch.__exit__(kind, error, trace)
        except Exception as own:
            if error is None:
                raise
            if own is not error:
                what = f"an observer failed while the run was unwound: {with_class(own)}"
                warnings.warn(LdmWarning(what), stacklevel=2)
