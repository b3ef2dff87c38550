"""A number that stands for all of a tensor's, whoever wrote into it and however: torch counts what
is written by its own functions alone, and not what numpy or ``tensor.data`` does."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

WIDTH = 4096
"""Numbers of a row, in which each place counts by another factor."""
WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Whole numbers by their bytes."""


def checksum(tensor: Tensor) -> int:
    """That number: on a CPU a CRC-32 of its bytes, elsewhere a sum of them as whole numbers, that
    reads all of them once (7 GB/s on one core)."""
    with torch.no_grad():
        flat = tensor.detach().reshape(-1)
        if flat.is_complex():
            flat = torch.view_as_real(flat).reshape(-1)
        return zlib.crc32(flat.view(torch.uint8).numpy().data) if flat.is_cpu else weighed(flat)


def weighed(flat: Tensor) -> int:
    """The sum of numbers as whole ones, shape (any,), each by the factor of its place in a row."""
    bits = flat.view(WHOLE[flat.dtype.itemsize])
    whole = len(bits) // WIDTH * WIDTH
    sums = bits[:whole].view(-1, WIDTH).sum(0, dtype=torch.int64)
    sums[: len(bits) - whole] += bits[whole:]
    places = torch.arange(1, 2 * WIDTH, 2, device=bits.device)
    return int((sums * places).sum().item())


def state(tensor: Tensor) -> tuple[int, int]:
    """What changes where a tensor that is computed with is written into: how often torch did it,
    and on a CPU its `checksum`; elsewhere that would wait for what is computed."""
    written = 0 if tensor.is_inference() else tensor._version
    return written, checksum(tensor) if tensor.is_cpu and type(tensor) is Tensor else 0
