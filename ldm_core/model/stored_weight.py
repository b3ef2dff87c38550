"""Weights that are kept in one floating-point type and computed with in a wider one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

aten = torch.ops.aten
TO_COPY = aten._to_copy.default
EMBEDDING = aten.embedding.default
COPIES = {aten.clone.default, aten._pin_memory.default}
WIDE_VIEWS = {aten.t.default, aten.expand.default, aten.view.dtype}
"""Views of a wide copy, in which a change is lost: what a linear layer multiplies by, what would be
widened many times, and bits."""


class StoredWeight(Tensor):
    """A weight kept in a narrow type, which every operation is given in a wide one.

    The wide copy lives as long as the operation, so that a network takes the memory of the narrow
    type. As its ``dtype`` is the wide one, all that asks a module for its type, to compute in that,
    computes in the wide one. Nothing is changed by a call: models that share weights may run in
    several threads.

    It stays what it is through ``to(device)``, copies, views, shared memory, pickling,
    `torch.compile` and Accelerate's offload. ``to(dtype)``, such as ``double()``, changes the type
    that it computes in; one that is not wider than the stored one makes a plain weight of it. So
    ``float()`` leaves one that computes in float32 as it is, and ``bfloat16()`` takes out what is
    stored in that.

    A TypeError refuses what would go wrong in silence: a change in place, by `load_state_dict` too,
    and reading its memory as if that were wide, as NumPy, DLPack, safetensors and offload to disk
    do.

    Attributes:
        stored: the weight as it is kept.
    """

    stored: Tensor

    @staticmethod
    def __new__(
        cls, stored: Tensor, dtype: torch.dtype | None = None, *, requires_grad: bool = False
    ) -> StoredWeight:
        """A weight around a narrow one, without a copy.

        Args:
            stored: strided, of any shape.
            dtype: the type it computes in. Without one, ``stored`` is a StoredWeight already, and
                this is a parameter of it: so does Accelerate with what it brings to a device.
        Raises:
            TypeError: ``stored`` is plain, and there is no dtype.
        """
        if dtype is None:
            if not isinstance(stored, StoredWeight):
                raise TypeError(
                    f"a plain {stored.dtype} weight cannot take the place of a stored one, which "
                    "would be kept narrow no longer: give StoredWeight(narrow, dtype), or, to "
                    "offload, the module's own state_dict()."
                )
            parameter: Any = nn.Parameter(stored, requires_grad)
            return parameter  # type: ignore[no-any-return]
        weight: StoredWeight = Tensor._make_wrapper_subclass(
            cls,
            stored.shape,
            strides=stored.stride(),
            storage_offset=stored.storage_offset(),
            dtype=dtype,
            device=stored.device,
            requires_grad=requires_grad,
        )
        weight.stored = stored
        return weight

    def __repr__(self) -> str:  # type: ignore[override]
        return f"StoredWeight({self.stored}, computes in {self.dtype})"

    def __tensor_flatten__(self) -> tuple[list[str], torch.dtype]:
        return ["stored"], self.dtype

    @staticmethod
    def __tensor_unflatten__(
        inner: Mapping[str, Tensor], dtype: torch.dtype, size: Any, stride: Any
    ) -> StoredWeight:
        return StoredWeight(inner["stored"], dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> StoredWeight:
        return _rebuild(copy.deepcopy(self.stored, memo), *self._state())

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _rebuild, (self.stored, *self._state())

    def _state(self) -> tuple[torch.dtype, bool, bool]:
        return self.dtype, self.requires_grad, isinstance(self, nn.Parameter)

    def data_ptr(self) -> int:
        """Where the narrow weight lies: Accelerate tells by it which weights are tied."""
        return self.stored.data_ptr()

    def share_memory_(self) -> StoredWeight:
        self.stored.share_memory_()  # type: ignore[no-untyped-call]
        return self

    def is_shared(self) -> bool:
        shared: bool = self.stored.is_shared()  # type: ignore[no-untyped-call]
        return shared

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, other: Tensor) -> None:
        """Become the other one, plain if that is; torch would take its dtype without its values."""
        is_parameter = isinstance(self, nn.Parameter)
        other = nn.Parameter(other, self.requires_grad) if is_parameter else other.detach()
        torch.utils.swap_tensors(self, other)  # type: ignore[no-untyped-call]

    def _no_wide_memory(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError(
            f"a weight stored in {self.stored.dtype} has no memory in {self.dtype} that could be "
            "read or saved: take its .stored, or .stored.to(dtype)."
        )

    numpy = storage = __dlpack__ = _no_wide_memory

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        first = args[0] if args else None
        if isinstance(first, cls):
            if func.is_view and torch.is_inference_mode_enabled():
                with torch.inference_mode(False):  # in which neither views nor to() come apart
                    return func(*args, **options)
            if func in COPIES or (func.is_view and func not in WIDE_VIEWS):
                kept = func(first.stored, *args[1:], **options)
                if isinstance(kept, Tensor):
                    return cls(kept, first.dtype)
                return [cls(part, first.dtype) for part in kept]
            if func is TO_COPY:
                return _to_copy(first, **options)
            if func is EMBEDDING:  # widen the rows that are looked up, not the whole table
                return func(first.stored, *args[1:], **options).to(first.dtype)
        for number, name in _changed(func):
            value = args[number] if number < len(args) else options.get(name)
            if any(isinstance(entry, cls) for entry in _entries(value)):
                raise TypeError(
                    f"{func} would change a wide copy of a stored weight, not itself: change the "
                    "weights, or load them, before they are stored."
                )
        named = {name: _wide(value) for name, value in options.items()}
        return func(*map(_wide, args), **named)


def _rebuild(
    stored: Tensor, dtype: torch.dtype, requires_grad: bool, is_parameter: bool
) -> StoredWeight:
    weight = StoredWeight(stored, dtype, requires_grad=requires_grad)
    return StoredWeight(weight, requires_grad=requires_grad) if is_parameter else weight


def _to_copy(weight: StoredWeight, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    """A copy on another device, in another layout, or computing in another type."""
    dtype = dtype or weight.dtype
    if dtype.is_floating_point and dtype.itemsize > weight.stored.itemsize:
        return StoredWeight(TO_COPY(weight.stored, **options), dtype)
    plain: Tensor = TO_COPY(weight.stored, dtype=dtype, **options)
    return plain


@cache
def _changed(func: Any) -> tuple[tuple[int, str], ...]:
    """Place and name of each argument that an operation changes."""
    return tuple(
        (number, argument.name)
        for number, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )


def _entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _wide(value: Any) -> Any:
    """An argument of an operation, with wide copies of the stored weights in it."""
    if isinstance(value, StoredWeight):
        return value.stored.to(value.dtype)
    return [_wide(entry) for entry in value] if isinstance(value, list) else value


def stored(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A module that computes in a type with the weights of another, kept in the narrower one that
    they are in.

    Its modules and parameters are its own, and frozen; the memory of the matrices is that of the
    original, which stays what it is, as is that of all that is not narrower. Vectors, such as
    biases, and buffers are widened for good: they are few, and each would cost a copy at every
    call. Tied weights stay tied.
    """
    tensors = chain(module.parameters(), module.buffers())
    return copy.deepcopy(module, {id(tensor): _stored(tensor, dtype) for tensor in tensors})


def compute_in(module: nn.Module, dtype: torch.dtype) -> None:
    """What `stored` does, to the module itself.

    Args:
        module: frozen, and nobody else's yet.
    """
    others: dict[Tensor, Tensor] = {}
    for part in module.modules():
        parameters = part.named_parameters(recurse=False, remove_duplicate=False)
        buffers = part.named_buffers(recurse=False, remove_duplicate=False)
        for name, tensor in [*parameters, *buffers]:
            if tensor.is_floating_point() and tensor.itemsize < dtype.itemsize:
                if tensor not in others:  # tied weights stay tied
                    others[tensor] = _stored(tensor, dtype)
                setattr(part, name, others[tensor])


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """What stands in the place of a module's parameter or buffer."""
    plain = type(tensor) in (Tensor, nn.Parameter, nn.Buffer, StoredWeight)
    if not (plain and tensor.is_floating_point()):  # such as indices, or what is quantised
        return tensor
    is_parameter = isinstance(tensor, nn.Parameter)
    kept = tensor.stored if isinstance(tensor, StoredWeight) else tensor.detach()
    other = tensor.detach()
    if kept.itemsize < dtype.itemsize:
        other = StoredWeight(kept, dtype) if is_parameter and kept.ndim > 1 else kept.to(dtype)
    return nn.Parameter(other, requires_grad=False) if is_parameter else other
