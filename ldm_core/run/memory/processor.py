"""What a processor's memory takes beside what is asked for: oneDNN's copies, and glibc's heap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ldm_core.run.memory.live_bytes import Allocator

aten = torch.ops.aten
CONVOLUTIONS = {aten.convolution.default, aten._convolution.default}
LEAST = 20480
"""Numbers below which torch convolves a single picture by itself, without oneDNN."""
CHANNELS = 16
"""That lie side by side where oneDNN computes."""
MAPPED = 32 * 2**20
"""Bytes of a block that glibc surely gives back once it is free. Smaller ones share a heap, which
does not shrink while the program goes on."""
IDLE = 64 * 2**20
"""Free bytes at the heap's end that glibc keeps at the most, twice the size of a block above."""
HEAP = 1.2
"""Of the heap to what is alive in it: a block that is free is no place for the next of its size,
which is to be aligned. Measured, as benchmarks/memory_plan.py does, not derived."""


class Processor(Allocator):
    """Torch's CPU allocator on glibc, and oneDNN."""

    def block(self, size: int) -> int:
        plain = super().block(size)
        return plain if plain >= MAPPED else min(int(plain * HEAP), MAPPED - 1)

    def keeps(self, size: int) -> bool:
        return size < MAPPED

    def idle(self, size: int) -> int:
        return min(size, IDLE)

    def scratch(self, func: Any, args: Sequence[Any], made: Sequence[Tensor]) -> int:
        """Of a convolution, but for one of single pixels: oneDNN computes in blocks of channels,
        with input, weights and output laid out anew; the output goes back into rows and columns
        once the other two are gone."""
        if func not in CONVOLUTIONS or not made:
            return 0
        x, weight, out = args[0], args[1], made[0]
        if all(side == 1 for side in weight.shape[2:]):
            return 0
        if x.ndim == 4 and len(x) == 1 and x.numel() <= LEAST:
            return 0
        laid_out, answer = _in_blocks(x) + _bytes(weight), _in_blocks(out)
        if _bytes(out) < MAPPED:
            return laid_out + answer
        return max(laid_out + answer - _bytes(out), answer)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.itemsize


def _in_blocks(tensor: Tensor) -> int:
    channels = tensor.shape[1]
    whole = -(-channels // CHANNELS) * CHANNELS if channels > 3 else channels
    return _bytes(tensor) // channels * whole
