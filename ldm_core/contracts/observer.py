"""Observers: hear of each evaluation of the denoiser."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ldm_core.contracts.record import Record, as_record
from ldm_core.contracts.run import Step
from ldm_core.numerics.grid import Grid

Tell = Callable[[Step], None]
Watch = Callable[..., AbstractContextManager[Tell]]
"""``with watch(grid) as tell: tell(step)``, open for the length of one run."""


@dataclass(frozen=True, eq=False)
class Observer(Record):
    """Who hears of each step. A plain function becomes one by `as_observer`."""

    takes: ClassVar[tuple[str, ...]] = ("grid",)

    watch: Watch

    def __call__(self, grid: Grid, **options: Any) -> AbstractContextManager[Tell]:
        return self.watch(grid, **options)

    @property
    def function(self) -> Callable[..., Any]:
        return self.watch

    def with_function(self, function: Callable[..., Any]) -> Observer:
        return replace(self, watch=function)


def as_observer(part: Observer | Watch) -> Observer:
    """The record of an observer; `LdmError` for what cannot be called."""
    return as_record(Observer, part, "an observer is a function (grid) -> context manager")
