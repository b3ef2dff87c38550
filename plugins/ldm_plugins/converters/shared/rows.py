"""Some rows of a call."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.contracts import Call, take


def part_of(call: Call, rows: Sequence[int]) -> Call:
    """Some rows of a call."""
    return Call(
        call.x[rows],
        call.t[rows],
        take(call.condition, rows),
        tuple([call.rows[row] for row in rows]),
    )
