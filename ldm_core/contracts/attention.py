"""Attention kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from ldm_core.arguments import checks_arguments
from ldm_core.contracts.family import ModelInfo
from ldm_core.contracts.record import Record, as_record
from ldm_core.errors import LdmError, PartError
from ldm_core.values import brief

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MaskKind = Literal["boolean", "additive"]
LOOK = "`ldm plugins list --kind attention` shows the others."


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
        head_sizes: the widths of a head that it takes; None for all.
        masks: the kinds of mask that it takes, ``boolean`` and ``additive``; None for both, an
            empty tuple for none.
        lossless: it computes attention but for rounding.
        fused: it makes no matrix of scores: its memory is that of the result, and a number a row.
        native: it is torch's own attention, so that nothing need be rerouted.
        lacks: what this machine would need to run it, such as a package; empty where nothing.
        remedy: how to come by that.
        name: what messages call it; the function's own name where empty.
        members: of a kernel that is the first of several that can, those.
    """

    takes: ClassVar[tuple[str, ...]] = ("q", "k", "v", "mask", "scale")

    call: Attention
    devices: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] | None = None
    head_sizes: tuple[int, ...] | None = None
    masks: tuple[MaskKind, ...] | None = None
    lossless: bool = True
    fused: bool = False
    native: bool = False
    lacks: str = ""
    remedy: str = ""
    name: str = ""
    members: tuple[Kernel, ...] = ()

    @property
    def function(self) -> Callable[..., Any]:
        return self.call

    def with_function(self, function: Callable[..., Any]) -> Kernel:
        return replace(self, call=function)

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or _name_of(self.call)

    @property
    def limited(self) -> bool:
        """Whether there are layers that it may not take, wherever it runs."""
        if self.members:
            return all(member.limited for member in self.members)
        return self.head_sizes is not None or self.masks is not None

    def why_not(self, device: str, dtype: str) -> str | None:
        """Why it cannot run on a kind of device, such as ``cuda``, in a type; None where it can."""
        if self.lacks:
            return f"needs {self.lacks}"
        if self.devices is not None and device not in self.devices:
            devices = " or ".join(self.devices)
            return f"needs a device of type {devices}, and this pipeline is on {device}"
        if self.dtypes is not None and dtype not in self.dtypes:
            return f"computes in {' or '.join(self.dtypes)}, and this pipeline in {dtype}"
        return None

    def declines(self, head_size: int, mask: MaskKind | None) -> str | None:
        """Why it cannot compute a layer; None where it can.

        Args:
            head_size: the width of a head.
            mask: the kind of the layer's mask; None where it has none.
        """
        if self.head_sizes is not None and head_size not in self.head_sizes:
            return f"takes heads of {sizes_in_words(self.head_sizes)}, and these are {head_size}"
        if mask is not None and self.masks is not None and mask not in self.masks:
            known = " and ".join(self.masks)
            return f"takes {f'{known} masks alone' if known else 'no masks'}, and this is {mask}"
        return None

    def on(self, device: str, dtype: str) -> Kernel:
        """The kernel as it is where it is to run: itself, or of several those that run there.

        Raises:
            LdmError: it cannot run there, with the reason.
        """
        reasons = [(kernel, kernel.why_not(device, dtype)) for kernel in self.members or (self,)]
        able = [kernel for kernel, reason in reasons if reason is None]
        if able:
            return first_of(able) if self.members else self
        said = "; ".join(f"the attention '{kernel.label}' {reason}" for kernel, reason in reasons)
        remedies = dict.fromkeys(kernel.remedy for kernel, _ in reasons if kernel.lacks)
        raise LdmError(f"{said}.", "; ".join(filter(None, remedies)) or LOOK)

    def taker(self, head_size: int, mask: MaskKind | None) -> Kernel | None:
        """Which of its kernels computes a layer, see `declines`; None where none of them can."""
        members = self.members or (self,)
        return next((m for m in members if m.declines(head_size, mask) is None), None)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        """Attention by the first of its kernels that takes these tensors, see `Attention`.

        Raises:
            LdmError: none of them does.
        """
        kind, size, device, dtype = mask_kind(mask), q.shape[-1], q.device.type, dtype_name(q.dtype)
        for kernel in self.members or (self,):
            if kernel.why_not(device, dtype) is None and kernel.declines(size, kind) is None:
                out = kernel.call(q, k, v, mask, scale)
                return kernel.checked(out, q, v)
        raise self.refusal(size, kind, device, dtype)

    def checked(self, out: Any, q: Tensor, v: Tensor) -> Tensor:
        """What it gave, once it is seen to be of the shape, type and device of attention's result.

        Raises:
            PartError: it is not.
        """
        tensor = isinstance(out, type(q)) or isinstance(q, type(out))
        if tensor and (out.shape == q.shape or out.shape == (*q.shape[:-1], v.shape[-1])):
            if out.dtype is q.dtype and out.device == q.device:
                result: Tensor = out
                return result
            raise PartError(
                self,
                f"the attention '{self.label}' gives a tensor of {dtype_name(q.dtype)} on "
                f"{q.device} for queries of that kind, and it gave one of {dtype_name(out.dtype)} "
                f"on {out.device}.",
            )
        shape = (*q.shape[:-1], v.shape[-1])
        gave = tuple(out.shape) if tensor else brief(out)
        raise PartError(
            self,
            f"the attention '{self.label}' gives a tensor of {shape} for queries of "
            f"{tuple(q.shape)} and values of {tuple(v.shape)}, and it gave {gave}.",
        )

    def refusal(
        self, head_size: int, mask: MaskKind | None, device: str, dtype: str, where: str = ""
    ) -> LdmError:
        """What is said of a layer that it does not take.

        Args:
            where: the layer is, such as `` of the unet``.
        """
        kernels = self.members or (self,)
        reasons = "; ".join(
            f"the attention '{kernel.label}' "
            f"{kernel.why_not(device, dtype) or kernel.declines(head_size, mask)}"
            for kernel in kernels
        )
        names = [kernel.label for kernel in kernels]
        return LdmError(
            f"a layer of attention{where} can be computed by no kernel: {reasons}.",
            f"put one behind that takes it: --attention {','.join([*names, 'native'])}",
        )


def first_of(kernels: Sequence[Kernel | Attention]) -> Kernel:
    """A kernel that is, for each layer, the first of several that can compute it: by what this
    machine has, the device, the type, the size of the heads, and the mask.

    Raises:
        LdmError: there are none.
    """
    members: list[Kernel] = []
    for kernel in map(as_kernel, kernels):
        members += kernel.members or (kernel,)
    if not members:
        raise LdmError("no attention kernel is named.", LOOK)
    if len(members) == 1:
        return members[0]

    def first(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        return several.attend(q, k, v, mask, scale)

    def fit(info: ModelInfo) -> Kernel:
        return first_of([member.fitted(info) for member in members])

    here = [member for member in members if not member.lacks]
    several = Kernel(
        first,
        lossless=all(member.lossless for member in here),
        native=bool(here) and here[0].native,
        name=",".join(member.label for member in members),
        members=tuple(members),
        fit=fit if any(member.fit is not None for member in members) else None,
    )
    return several


def mask_kind(mask: Tensor | None) -> MaskKind | None:
    """The kind of a mask."""
    if mask is None:
        return None
    return "boolean" if str(mask.dtype) == "torch.bool" else "additive"


def dtype_name(dtype: torch.dtype) -> str:
    """A type of torch's, as recipes write it."""
    return str(dtype).removeprefix("torch.")


def sizes_in_words(sizes: Sequence[int]) -> str:
    """Sizes of heads in a few words."""
    step = sizes[0] if sizes else 1
    if len(sizes) > 4 and list(sizes) == list(range(step, sizes[-1] + 1, step)):
        return f"multiples of {step} up to {sizes[-1]}"
    return " or ".join(map(str, sizes))


def _name_of(function: Any) -> str:
    while isinstance(function, partial):
        function = function.func
    try:
        return str(function.__name__)
    except AttributeError:  # an object that can be called
        return type(function).__name__


def as_kernel(part: Kernel | Attention) -> Kernel:
    """The record of an attention kernel; `LdmError` for what cannot be called."""
    return as_record(Kernel, part, "an attention kernel is a function (q, k, v, mask, scale)")


@checks_arguments
def runs_on(
    *devices: str,
    dtypes: tuple[str, ...] | None = None,
    head_sizes: tuple[int, ...] | None = None,
    masks: tuple[MaskKind, ...] | None = None,
    lossless: bool = True,
    fused: bool = False,
) -> Callable[[Attention], Kernel]:
    """Say on which kinds of device, such as ``cuda``, a kernel runs, on all where none is named;
    in which types, with which sizes of heads and kinds of masks; see `Kernel`."""
    traits: dict[str, Any] = {
        "devices": devices or None,
        "dtypes": dtypes,
        "head_sizes": head_sizes,
        "masks": masks,
        "lossless": lossless,
        "fused": fused,
    }
    return lambda kernel: replace(as_kernel(kernel), **traits)


def torchs_own(kernel: Attention) -> Kernel:
    """Say that a kernel does what torch does anyway, so that nothing is rerouted."""
    return replace(as_kernel(kernel), native=True, fused=True)


@checks_arguments
def lacking(kernel: Kernel, lacks: str, remedy: str) -> Kernel:
    """A kernel that this machine cannot run for want of something, such as a package.

    By itself it is refused where a pipeline is composed; among several the next one that can is
    taken.

    Args:
        remedy: how to come by it.
    """
    return replace(kernel, lacks=lacks, remedy=remedy)
