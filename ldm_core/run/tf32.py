"""TF32 in force for a block of code: float32 multiplications on CUDA with 10 bits of mantissa.

The setting is one of the whole process. It is on while at least one block wants it, in whichever
threads, and what it was before when the last of them ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

import torch

_one_at_a_time = Lock()
_holders = 0
_put_back: list[Callable[[], None]] = []


@contextmanager
def tf32_in_force(recipe: Mapping[str, Any]) -> Iterator[None]:
    """A block in which TF32 is on where the recipe's ``tf32`` says so; else it is left as it is."""
    if not recipe.get("tf32", False):
        yield
        return
    global _holders
    with _one_at_a_time:
        if _holders == 0:
            _put_back[:] = _switch_on()
        _holders += 1
    try:
        yield
    finally:
        with _one_at_a_time:
            _holders -= 1
            if _holders == 0:
                while _put_back:
                    _put_back.pop()()


def _switch_on() -> list[Callable[[], None]]:
    """Turn TF32 on for matrices and convolutions; what puts each setting back, the last first."""
    undo: list[Callable[[], None]] = []
    matrices: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    # torch has two names for one setting: the newer is set by the older one, but not told back
    for place in (matrices, cudnn.conv, cudnn.rnn):
        with suppress(AttributeError):  # before torch 2.9
            undo.append(_keeps(place, "fp32_precision", place.fp32_precision))
    for switch in (matrices, cudnn):
        try:
            undo.append(_keeps(switch, "allow_tf32", switch.allow_tf32))
            switch.allow_tf32 = True
        except RuntimeError:  # a program that sets the newer one itself
            if switch is matrices:
                matrices.fp32_precision = "tf32"
            else:
                cudnn.conv.fp32_precision = "tf32"
    return undo


def _keeps(place: Any, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(place, name, value)
