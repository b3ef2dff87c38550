"""An observer: whether more steps would have changed anything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ldm_core.contracts import Grid, Step

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def changes(grid: Grid) -> Iterator[Callable[[Step], None]]:
    """Say after a run by how much the x0 estimate changed at each evaluation, in parts of its
    size, on the standard error stream."""
    said: list[str] = []
    before: Tensor | None = None

    def tell(step: Step) -> None:
        nonlocal before
        if before is not None:
            said.append(f"{float((step.x0 - before).norm() / before.norm()):.3f}")
        before = step.x0.clone()

    yield tell
    print("x0 changed by", *said, file=sys.stderr)
