"""torch's default type, in one thread: torch itself has one for the whole process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

MAKERS = ("empty", "eye", "linspace", "logspace", "ones", "rand", "randn", "zeros")
"""Functions that make numbers of the default type, unless they are told another."""
BY_VALUE = ("arange", "as_tensor", "full", "scalar_tensor", "tensor")
"""Those that make such numbers of Python's floats."""
ARITHMETIC = (
    *("add", "mul", "pow", "sub", "true_divide", "div", "divide", "multiply", "subtract"),
    *("cos", "exp", "log", "reciprocal", "rsqrt", "sigmoid", "sin", "sqrt", "tan", "tanh"),
    *("__add__", "__mul__", "__pow__", "__radd__", "__rdiv__", "__rmul__", "__rpow__", "__rsub__"),
    *("__rtruediv__", "__sub__", "__truediv__", "__div__", "float_power", "outer", "exp2", "log2"),
)
"""Those whose answer to whole numbers is of the default type."""


@cache
def _makers() -> frozenset[Any]:
    return frozenset(vars(torch)[name] for name in MAKERS)


@cache
def _by_value() -> frozenset[Any]:
    return frozenset(vars(torch)[name] for name in (*BY_VALUE, "range") if name in vars(torch))


@cache
def _arithmetic() -> frozenset[Any]:
    places = [vars(torch), *(vars(cls) for cls in Tensor.__mro__)]
    return frozenset(place[name] for place in places for name in ARITHMETIC if name in place)


class _Mine(threading.local):
    """The type of this thread's that was asked for last."""

    def __init__(self) -> None:
        self.latest: OwnDtype | None = None


_mine = _Mine()


def by_default(dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Have this thread make tensors of a type where none is asked for; None leaves it as it is."""
    now = torch.get_default_dtype() if _mine.latest is None else _mine.latest.dtype
    return nullcontext() if dtype is None or dtype is now else OwnDtype(dtype)


class OwnDtype(TorchFunctionMode):
    """Tensors made in this thread, of no type that is asked for, have a type of its own.

    Args:
        dtype: one of floating point.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self._before: OwnDtype | None = None

    def __enter__(self) -> OwnDtype:
        self._before, _mine.latest = _mine.latest, self
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        _mine.latest = self._before

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if _mine.latest is not self:  # another of this thread's is within it
            return func(*args, **options)
        if func in _makers():
            if options.get("dtype") is None:
                options["dtype"] = self.dtype
            return func(*args, **options)
        made = func(*args, **options)
        if func in _by_value():
            own = options.get("dtype") is None and not _known(args, options)
        else:
            own = func in _arithmetic() and not _known(args, options)
        is_default = isinstance(made, Tensor) and made.dtype is torch.get_default_dtype()
        return made.to(self.dtype) if own and is_default else made


def _known(args: Any, options: Mapping[str, Any]) -> bool:
    """Whether a tensor among these says of which floating type the answer is."""
    given = [*args, *options.values()]
    return any(isinstance(t, Tensor) and t.is_floating_point() for t in given)
