"""What a spacing must do."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.conformance.gaussian import SCHEDULES
from ldm_core.contracts import Spacing
from ldm_core.errors import LdmError
from ldm_core.grid import checked


def check_spacing(spacing: Spacing, steps: Sequence[int] = (1, 2, 3, 7, 20, 50, 333, 1000)) -> None:
    """See that on every path the grid has the asked length, falls strictly and is finite.

    A spacing may refuse a path or a number of steps by an `LdmError`.

    Raises:
        AssertionError: a grid is malformed, or has another number of points than steps + 1.
    """
    for name, schedule in SCHEDULES.items():
        for n in steps:
            try:
                grid = spacing(schedule, n)
            except LdmError:
                continue
            try:
                points = checked(grid, schedule, "under test")
            except LdmError as error:
                raise AssertionError(f"on the {name} path with {n} steps: {error}") from None
            if len(points) != n + 1:
                raise AssertionError(
                    f"on the {name} path with {n} steps the grid has {len(points)} points, "
                    f"not {n + 1}"
                )
