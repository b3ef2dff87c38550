"""What is known of the processor without torch."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from ldm_core.contracts import PlaceNames

BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""What Linux calls arithmetic in bfloat16, on x86 and on ARM."""


def is_processor(place: PlaceNames) -> bool:
    """Whether a model computes on the processor, as far as can be told without torch."""
    if place.device != "auto":
        return place.device == "cpu"
    return sys.platform == "linux" and not Path("/dev/nvidiactl").exists()


def is_cuda_in_half(place: PlaceNames) -> bool:
    """Whether a model computes in half precision on CUDA, as far as can be told without torch."""
    if place.device == "auto":
        there = sys.platform == "linux" and Path("/dev/nvidiactl").exists()
    else:
        there = place.device.partition(":")[0] == "cuda"
    types = {place.dtype, place.compute_dtype} - {"auto"}
    return there and "float32" not in types


@cache
def computes_bfloat16() -> bool:
    """Whether the processor says that it has arithmetic in bfloat16."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return not {*BFLOAT16}.isdisjoint(flags.split())
