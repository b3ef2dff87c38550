"""What later updates need, drawn by other processes while the network learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

DEPTH = 2  # steps that a worker draws ahead


class Ahead:
    """Gives what `draw` returns at a step, the same whoever drew it.

    Steps that are asked for in order come from worker processes; any other step begins anew.

    Args:
        draw: a step (0 … steps-1) to tensors on the CPU, depending on the step alone. It is
            pickled where processes are not forked, so it must be a module's function or object.
        workers: processes beside this one; 0 draws here, when asked.
    """

    def __init__(self, draw: Callable[[int], Any], steps: int, workers: int) -> None:
        self.draw, self.steps, self.workers = draw, steps, workers
        self._next = -1
        self._drawn: Iterator[Any] = iter(())

    def __call__(self, step: int) -> Any:
        if self.workers == 0:
            return self.draw(step)
        if step != self._next:
            self._drawn = iter(
                DataLoader(
                    _Steps(self.draw),
                    batch_size=None,
                    sampler=range(step, self.steps),
                    num_workers=self.workers,
                    prefetch_factor=DEPTH,
                    # A generator of its own, so that the global one draws what it would without.
                    generator=torch.Generator(),
                )
            )
        self._next = step + 1
        return next(self._drawn)


class _Steps(Dataset[Any]):
    def __init__(self, draw: Callable[[int], Any]) -> None:
        self.draw = draw

    def __getitem__(self, step: int) -> Any:
        return self.draw(step)
