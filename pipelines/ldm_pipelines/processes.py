"""Work that several processes share, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Processes:
    """This process among those that do one work.

    Attributes:
        rank: its number, from 0 on.
        count: how many there are.
        wait: returns once all have called it.
    """

    rank: int = 0
    count: int = 1
    wait: Callable[[], None] = lambda: None


def processes() -> Processes:
    """Those that were started together; a single one where there are no others."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes()
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    return Processes(state.process_index, state.num_processes, state.wait_for_everyone)
