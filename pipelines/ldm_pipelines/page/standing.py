"""What stands on the page already when the form is made anew, and stays as a person has it: what
they type in the meantime, where they are in it, what they opened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ldm_pipelines.page.fields import Field


class Standing:
    """The components of a form, each of which has a key.

    Gradio gives a component of the same key the same place on the page, and of what it is told of
    it again changes all that is not None. It makes a component anew whose place among its
    neighbours is another. So those that come and go have a room of their own, and what makes up
    that room, its `group`, is in the key of each.

    Args:
        there: what stood there after the last time, by Gradio's numbers; it is made to hold what
            stands there now. Where it is empty, each has the value that it is given.
    """

    def __init__(self, there: set[int]) -> None:
        self._before, self._now = {*there}, there
        there.clear()

    def box(self, box: Any) -> Any:
        """A box, which keeps what is in it."""
        if self._stands(box):
            box.value = None
        return box

    def opened(self, room: Any) -> Any:
        """A part that opens, which stays open or shut."""
        if self._stands(room):
            room.open = None
        return room

    def _stands(self, one: Any) -> bool:
        self._now.add(one._id)
        return one._id in self._before


def group(*several: tuple[str, Iterable[Field]]) -> str:
    """What boxes make up a room: of each part its name and its fields."""
    return repr([
        (name, [(one.name, one.of, one.widget, one.shown) for one in fields])
        for name, fields in several
    ])  # fmt: skip
