"""Attention kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ldm_core.arguments import checks_arguments
from ldm_core.contracts.record import Record, as_record

if TYPE_CHECKING:
    from torch import Tensor


class Attention(Protocol):
    """Scaled dot-product attention, softmax(q·kᵀ·scale + mask)·v.

    q (batch, heads, queries, width), k and v (batch, heads, keys, width); mask None, boolean
    (False hides), or additive, broadcastable to (batch, heads, queries, keys); scale a float.
    """

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Kernel(Record):
    """An attention function and where it can be used. A plain function becomes one by `as_kernel`.

    Attributes:
        devices: the kinds of device that it runs on, such as ``cuda``; None for all.
        dtypes: the types that it takes, such as ``float16``; None for all.
        native: it is torch's own attention, so that nothing need be rerouted.
    """

    takes: ClassVar[tuple[str, ...]] = ("q", "k", "v", "mask", "scale")

    call: Attention
    devices: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] | None = None
    native: bool = False

    @property
    def function(self) -> Callable[..., Any]:
        return self.call

    def with_function(self, function: Callable[..., Any]) -> Kernel:
        return replace(self, call=function)


def as_kernel(part: Kernel | Attention) -> Kernel:
    """The record of an attention kernel; `LdmError` for what cannot be called."""
    return as_record(Kernel, part, "an attention kernel is a function (q, k, v, mask, scale)")


@checks_arguments
def runs_on(*devices: str, dtypes: tuple[str, ...] | None = None) -> Callable[[Attention], Kernel]:
    """Say on which kinds of device, such as ``cuda``, and in which types a kernel runs."""
    return lambda kernel: replace(as_kernel(kernel), devices=devices, dtypes=dtypes)


def torchs_own(kernel: Attention) -> Kernel:
    """Say that a kernel does what torch does anyway, so that nothing is rerouted."""
    return replace(as_kernel(kernel), native=True)
