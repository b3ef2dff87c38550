"""What is chosen on the page, by which the form is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ldm_pipelines.page.widgets import PRIVATE, names_in

OF_CHOICE: dict[str, Any] = {**PRIVATE, "concurrency_id": "choice", "concurrency_limit": 1}
"""How events of choices are bound: one after the other, so that what is filled in is held before
the form is made anew."""
Names = tuple[tuple[str, ...], ...]
At = tuple[str, str, str]
"""A hook point, a plugin's id and one of its options."""


@dataclass(frozen=True)
class Choice:
    """What the form was made for. It is made anew where this is another, and then alone: that
    takes a moment, and what is typed meanwhile is lost.

    Attributes:
        names: of the model, and of plugins at each hook point.
        inner: in options that plugins fill, or that are needed, by where, sorted.
        taken: how many pictures were dropped, whose recipe is in the form.
    """

    names: Names = ()
    inner: tuple[tuple[At, tuple[str, ...]], ...] = ()
    taken: int = 0

    def with_inner(self, at: At, value: Any, before: Any) -> Choice:
        """With what is in the box of an option that plugins fill, or that is needed.

        Args:
            before: what was in it when the form was made.
        """
        inner, names = dict(self.inner), names_in(value)
        if inner.get(at, names_in(before)) == names:  # a box says that it changed when it appears
            return self
        return replace(self, inner=tuple(sorted({**inner, at: names}.items())))


def names_chosen(values: Iterable[Any]) -> Names:
    """The names in the boxes of the model and of all hook points."""
    return tuple(names_in(value) for value in values)
