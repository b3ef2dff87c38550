"""Module trees of their own around shared tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import Tensor, nn


def shallow_copy(module: nn.Module, keep: Iterable[nn.Module] = ()) -> nn.Module:
    """A module tree of its own around the very parameters and buffers of the original.

    Args:
        keep: modules within it that are not copied either; both trees have them.
    """
    shared = chain(module.parameters(), module.buffers(), keep)
    return copy.deepcopy(module, {id(part): part for part in shared})


def movable_copy(module: nn.Module) -> nn.Module:
    """A module tree of its own, whose parameters and buffers are its own too, around the memory of
    the original's: what moves the copy's weights, or puts others in their place, leaves the
    original as it was. Tied weights stay tied.

    Raises:
        LdmError: weights are of a kind that knows more than its numbers, which would be lost.
    """
    tensors = chain(module.parameters(), module.buffers())
    return copy.deepcopy(module, {id(tensor): _alias(tensor) for tensor in tensors})


def _alias(tensor: Tensor) -> Tensor:
    from torch import Tensor, nn
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass

    if type(tensor) not in (Tensor, nn.Parameter) and not is_traceable_wrapper_subclass(tensor):
        raise LdmError(
            f"weights of the kind {type(tensor).__name__} cannot be moved, as offloading does.",
            "leave the part that has them where it computes: the placement 'whole'.",
        )
    other = tensor.detach()
    return nn.Parameter(other, requires_grad=False) if isinstance(tensor, nn.Parameter) else other
