"""The first of several kernels that can."""

from __future__ import annotations

from ldm_core.contracts import Kernel
from ldm_core.contracts import first_of as first_that_can


def first_of(*, kernels: list[Kernel]) -> Kernel:
    """For each layer the first of several kernels that can compute it: by the packages that are
    installed, the device, the type, the size of its heads and its mask.

    A list of kernels in a recipe, or several names on the command line, stand for it; `ldm explain`
    says which of them computes which layers.

    Args:
        kernels: names, or tables with a name and options, the one that is wanted most first.
    """
    return first_that_can(kernels)
