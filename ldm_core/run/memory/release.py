"""Memory that is free given back, between one part of a run and the next."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Give the system back what allocators keep of memory that is free: of the C library's heap,
    and of CUDA's cache. Nothing is set; what is needed again is asked for again."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        try:
            library.malloc_trim(0)
        except AttributeError:  # of another C library than glibc
            return
