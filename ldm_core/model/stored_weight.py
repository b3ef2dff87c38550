"""Weights that are kept in one floating-point type and computed with in a wider one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

DETACH = torch.ops.aten.detach.default
CLONE = torch.ops.aten.clone.default
EMBEDDING = torch.ops.aten.embedding.default


class StoredWeight(Tensor):
    """A weight kept in a narrow type, which every operation is given in a wide one.

    The wide copy lives as long as the operation, so that a network takes the memory of the narrow
    type. As its ``dtype`` is the wide one, all that asks a module for its type, to compute in that,
    computes in the wide one. Nothing is changed by a call: models that share weights may run in
    several threads.

    Attributes:
        stored: the weight as it is kept.
    """

    stored: Tensor

    @staticmethod
    def __new__(cls, stored: Tensor, dtype: torch.dtype) -> StoredWeight:
        weight: StoredWeight = Tensor._make_wrapper_subclass(
            cls, stored.shape, strides=stored.stride(), dtype=dtype, device=stored.device
        )
        weight.stored = stored
        return weight

    def __repr__(self) -> str:  # type: ignore[override]
        return f"StoredWeight({self.stored}, computes in {self.dtype})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        first = args[0] if args else None
        if isinstance(first, cls):
            if func in (DETACH, CLONE):  # as nn.Parameter and copy.deepcopy do; it stays what it is
                return cls(func(first.stored, **(kwargs or {})), first.dtype)
            if func is EMBEDDING:  # widen the rows that are looked up, not the whole table
                return func(first.stored, *args[1:], **(kwargs or {})).to(first.dtype)
            if func._schema.is_mutable:
                raise TypeError(f"{func} would change a wide copy of a stored weight, not itself")
        named = {name: _wide(value) for name, value in (kwargs or {}).items()}
        return func(*map(_wide, args), **named)


def _wide(value: Any) -> Any:
    """An argument of an operation, with wide copies of the stored weights in it."""
    if isinstance(value, StoredWeight):
        return value.stored.to(value.dtype)
    return [_wide(entry) for entry in value] if isinstance(value, list) else value


def compute_in(module: nn.Module, dtype: torch.dtype) -> None:
    """Make a module compute in a type, its weights kept in the narrower one that they are in.

    Vectors, such as biases, and buffers are widened for good: they are few, and each would cost a
    copy at every call.

    Args:
        module: frozen, and nobody else's yet.
    """
    made: dict[Tensor, nn.Parameter] = {}  # tied weights stay tied

    def narrow(tensor: Tensor) -> bool:
        return tensor.is_floating_point() and tensor.itemsize < dtype.itemsize

    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            if narrow(weight):
                if weight not in made:
                    kept = weight.detach()
                    wide = StoredWeight(kept, dtype) if kept.ndim > 1 else kept.to(dtype)
                    made[weight] = nn.Parameter(wide, requires_grad=False)
                setattr(part, name, made[weight])
        for name, buffer in list(part.named_buffers(recurse=False)):
            if narrow(buffer):
                setattr(part, name, buffer.to(dtype))
