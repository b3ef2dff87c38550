"""Module trees of their own around shared tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def shallow_copy(module: nn.Module, keep: Iterable[nn.Module] = ()) -> nn.Module:
    """A module tree of its own around the very parameters and buffers of the original.

    Args:
        keep: modules within it that are not copied either; both trees have them.
    """
    shared = chain(module.parameters(), module.buffers(), keep)
    return copy.deepcopy(module, {id(part): part for part in shared})
