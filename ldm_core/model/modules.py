"""Module trees of their own around shared tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.model.copied import note_copy

if TYPE_CHECKING:
    from torch import Tensor, nn


def shallow_copy(module: nn.Module, keep: Iterable[nn.Module] = ()) -> nn.Module:
    """A module tree of its own around the very parameters and buffers of the original. Where
    others are put in their place there, runs of a model with the copy see to it, see
    `ldm_core.model.copied`.

    Args:
        keep: modules within it that are not copied either; both trees have them.
    """
    shared = chain(module.parameters(), module.buffers(), keep)
    return _copied(module, {id(part): part for part in shared})


def movable_copy(module: nn.Module) -> nn.Module:
    """A module tree of its own, whose parameters and buffers are its own too, around the memory of
    the original's: what moves the copy's weights, or puts others in their place, leaves the
    original as it was. Tied weights stay tied.

    Raises:
        LdmError: weights are of a kind that knows more than its numbers, which would be lost.
    """
    tensors = chain(module.parameters(), module.buffers())
    return _copied(module, {id(tensor): _alias(tensor) for tensor in tensors})


def _copied(module: nn.Module, copies: dict[int, Any]) -> nn.Module:
    """
    Args:
        copies: what stands in the copy, by the id of what stands in the original.
    """
    other = copy.deepcopy(module, copies)
    note_copy(module, {**copies, id(module): other})
    return other


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
