"""Who hears of weights that are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from ldm_core.contracts import Observer, PartInfo
from ldm_core.contracts.observer import TellPart
from ldm_core.errors import PartError
from ldm_core.plugins.owners import Owners
from ldm_core.values import brief

READING = "while weights were read"


@contextmanager
def heard_of_parts(
    observers: Sequence[Observer], parts: Sequence[PartInfo], owners: Owners
) -> Iterator[TellPart]:
    """Open the observers that hear of the reading, and yield what tells them of each part.

    Args:
        parts: those that are to be read, as far as the family says.
        owners: whose each of them is.
    """
    with ExitStack() as open_ones:
        told: list[tuple[Observer, TellPart]] = []
        for observer in observers:
            if observer.reading is not None:
                with owners.blamed(observer, READING):
                    tell: Any = open_ones.enter_context(observer.reading(parts))
                    if not callable(tell):
                        gives = "what hears of the reading gives a function of a part"
                        raise PartError(observer, f"{gives}, and it gave {brief(tell)}.")
                told.append((observer, tell))

        def tell_all(part: PartInfo) -> None:
            for observer, tell in told:
                with owners.blamed(observer, READING):
                    tell(part)

        yield tell_all
