"""Calls of a network with some of their rows, or with more."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.contracts import Call, Condition, concatenate, take

Shapes = frozenset[tuple[str, tuple[int, ...]]]


def select(call: Call, rows: Sequence[int]) -> Call:
    """Some rows of a call, in this order."""
    places = list(rows)
    whose = tuple([call.rows[place] for place in places])
    return Call(call.x[places], call.t[places], take(call.condition, places), whose)


def join(first: Call, second: Call) -> Call:
    """The rows of two calls, whose conditions are of one shape."""
    import torch

    return Call(
        torch.cat([first.x, second.x]),
        torch.cat([first.t, second.t]),
        concatenate([first.condition, second.condition]),
        first.rows + second.rows,
    )


def shapes(condition: Condition) -> Shapes:
    """The shape of a row of each tensor; conditions of the same can be read in one call."""
    return frozenset((key, tuple(value.shape[1:])) for key, value in condition.items())
