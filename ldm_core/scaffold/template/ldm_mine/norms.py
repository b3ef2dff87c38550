"""An observer: it hears of each step, and changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ldm_core.contracts import Grid, Step
from pydantic import PositiveInt


@contextmanager
def norms(grid: Grid, *, every: PositiveInt = 1) -> Iterator[Callable[[Step], None]]:
    """Say how large each x0 estimate is, on the standard error stream.

    Args:
        every: speak of each so many steps.
    """

    def tell(step: Step) -> None:
        if step.index % every == 0:
            said = f"step {step.index + 1} of {len(grid) - 1}: t {step.point.t:.1f}"
            print(f"{said}, spread of x0 {float(step.x0.std()):.3f}", file=sys.stderr)

    yield tell
