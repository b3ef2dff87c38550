"""An attention kernel in force for a block of code, in this thread alone.

Diffusers' layers, UNets included, end in ``torch.nn.functional.scaled_dot_product_attention``.
While a kernel is in force that one function is rerouted to it; no module is touched, so
pipelines that share weights can use different kernels in different threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar, Token
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from ldm_core.contracts import Attention, Call, Kernel, Network, as_kernel
from ldm_core.errors import LdmError

_rerouted: ContextVar[tuple[Kernel, ...]] = ContextVar("rerouted", default=())
"""The kernels in force, of which the last one is asked; torch's own is, in each, the one before
it."""


def in_force(kernel: Kernel | Attention) -> AbstractContextManager[Any]:
    """A context in which every attention layer calls the kernel.

    Rerouting costs about 2 µs of Python for each torch function called in the block; a kernel that
    is torch's own costs nothing.
    """
    kernel = as_kernel(kernel)
    return nullcontext() if kernel.native else _Reroute(kernel)


def kernels_in_force() -> tuple[Attention, ...]:
    """The kernels that attention layers call in this thread, of which the last one is asked; none
    where that is torch's own."""
    return _rerouted.get()


@contextmanager
def as_in_context() -> Iterator[None]:
    """A context with the kernels that are in force by this thread's context variables: torch keeps
    its modes for each thread, so that one which works for another has to enter them anew."""
    kernels = _rerouted.get()
    token = _rerouted.set(())
    try:
        with ExitStack() as stack:
            for kernel in kernels:
                stack.enter_context(_Reroute(kernel))
            yield
    finally:
        _rerouted.reset(token)


def reaching(network: Network, kernel: Kernel) -> Network:
    """A network whose first call is seen to ask the kernel for attention; the network itself where
    the kernel is the model's own."""
    return network if kernel.native else Reaching(network, kernel)


class Reaching:
    """A network that asks a kernel for attention.

    Attributes:
        network: that is called.
    """

    def __init__(self, network: Network, kernel: Kernel) -> None:
        self.network = network
        self._kernel = kernel
        self._reached = False

    def around(self, other: Network) -> Reaching:
        """The same of another network, such as one with hooks of its own."""
        return Reaching(other, self._kernel)

    def __call__(self, call: Call) -> Tensor:
        """The network's answer.

        Raises:
            LdmError: at the first call, none of its layers asked, so that the choice would be one
                in name.
        """
        if self._reached:
            return self.network(call)
        asked: list[bool] = []

        def counted(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
            asked.append(True)  # and the kernel, which is in force around the call, computes it
            return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)

        with in_force(counted):
            output = self.network(call)
        if not asked:
            raise LdmError(
                f"the attention '{self._kernel.label}' reaches no layer of the network: it has "
                "none that ends in torch's scaled_dot_product_attention.",
                "leave the choice to the model: --attention native",
            )
        self._reached = True
        return output


class _Reroute(TorchFunctionMode):
    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self._kernel = kernel
        self._tokens: list[Token[tuple[Kernel, ...]]] = []

    def __enter__(self) -> Self:
        self._tokens.append(_rerouted.set((*_rerouted.get(), self._kernel)))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        _rerouted.reset(self._tokens.pop())

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is scaled_dot_product_attention:
            return by_kernel(self._kernel.attend, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def by_kernel(
    kernel: Attention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Torch's own attention, in its own signature, computed by a kernel.

    Raises:
        LdmError: the kernel takes no such layer.
    """
    if dropout_p > 0:
        raise ValueError("attention kernels are for sampling and know no dropout; use eval mode")
    if is_causal:
        shape = (query.shape[-2], key.shape[-2])
        attn_mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key = key.repeat_interleave(repeats, dim=-3)
        value = value.repeat_interleave(repeats, dim=-3)
    if scale is None:
        scale = 1.0 / math.sqrt(query.shape[-1])
    if query.dim() == 4:
        answer = kernel(query, key, value, attn_mask, scale)
        # as torch's own lies in memory, heads within tokens, which layers count on that view it so;
        # the others bring it there by the same copy
        return answer.transpose(1, 2).contiguous().transpose(1, 2)
    # torch takes any number of dimensions before these, the contract's kernels two
    before = query.shape[:-2]
    if attn_mask is not None:
        attn_mask = _of_two(attn_mask.expand(*before, *attn_mask.shape[-2:]))
    out = kernel(_of_two(query), _of_two(key), _of_two(value), attn_mask, scale)
    return out.reshape(*before, *out.shape[-2:])


def _of_two(tensor: Tensor) -> Tensor:
    """(..., rows, columns) as (all of them, 1, rows, columns)."""
    return tensor.reshape(-1, 1, *tensor.shape[-2:])
