"""Calls of a network with some of their rows, or with more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import Call, Condition

if TYPE_CHECKING:
    from torch import Tensor

Shapes = frozenset[tuple[str, tuple[int, ...]]]
Whose = tuple[tuple[int, str], ...]
"""The image and branch of each row of a call."""


def whose(call: Call) -> Whose:
    """Whose rows a call has; what is laid out for them serves the other steps of a run too."""
    return tuple([(row.image, row.branch) for row in call.rows])


def shapes(condition: Condition) -> Shapes:
    """The shape of a row of each tensor; conditions of the same can be read in one call."""
    return frozenset((key, tuple(value.shape[1:])) for key, value in condition.items())


class Selection:
    """Some rows of calls that have the same rows, step after step.

    What is taken of a condition's tensor is kept as long as the calls have that very tensor; what
    another part makes anew for every call, such as residuals, is taken anew too.

    Args:
        places: of the rows among those of the call; a row may stand in several.
        last: tensors of the condition that the last rows have in place of their own.
    """

    def __init__(self, places: Sequence[int], last: Condition | None = None) -> None:
        self._places = list(places)
        self._last: Condition = last or {}
        self._cache: dict[str, tuple[Tensor, Tensor]] | None = None

    def __call__(self, call: Call) -> Call:
        places = self._places
        rows = tuple([call.rows[place] for place in places])
        return Call(call.x[places], call.t[places], self._rows_of(call.condition), rows)

    def _rows_of(self, condition: Condition) -> Condition:
        if self._cache is None:
            self._cache = {key: (value, self._take(key, value)) for key, value in condition.items()}
        rows = {}
        for key, value in condition.items():
            source, own = self._cache.get(key, (None, value))
            if source is not value:
                self._cache.pop(key, None)
                own = self._take(key, value)
            rows[key] = own
        return rows

    def _take(self, key: str, value: Tensor) -> Tensor:
        import torch

        if key not in self._last:
            return value[self._places]
        last = self._last[key]
        first = self._places[: len(self._places) - len(last)]
        return torch.cat([value[first], last]) if first else last
