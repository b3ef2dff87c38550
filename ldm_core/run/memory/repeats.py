"""What is computed again and again on tensors of one shape is walked once: of tiles there may be
hundreds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ldm_core.run.memory.live_bytes import LiveBytes, Moment

PLAIN = (bool, int, float, str, type(None))
"""Types of arguments that are told apart by their values."""


@contextmanager
def walked_once(modules: Iterable[nn.Module], live: LiveBytes) -> Iterator[None]:
    """Walk the parts of some modules, which nobody else calls meanwhile, once for each shape.

    What a call takes depends on shapes alone: of one with the shapes of another before, what that
    took is counted again, operation by operation. A part that keeps something, or gives anything
    but one new tensor, is walked each time.
    """
    parts = [part for module in modules for part in module.children() if [*part.children()]]
    own = [part.forward for part in parts]
    for part, forward in zip(parts, own, strict=True):
        part.forward = _once(forward, live)
    try:
        yield
    finally:
        for part, forward in zip(parts, own, strict=True):
            del part.forward  # what the class has comes to light, or else what somebody had set
            if part.forward != forward:
                part.forward = forward


def _once(forward: Callable[..., Any], live: LiveBytes) -> Callable[..., Any]:
    seen: dict[Any, tuple[list[Moment], Any]] = {}

    def call(*args: Any, **options: Any) -> Any:
        inputs = _shapes(args, options)
        if inputs is None:
            return forward(*args, **options)
        if inputs in seen:
            moments, (size, stride, dtype) = seen[inputs]
            live.count_again(moments)
            return torch.empty_strided(size, stride, dtype=dtype, device="meta")
        before = live.live
        with live.recorded() as moments:
            result = forward(*args, **options)
        if _is_whole(result) and live.live == before + live.size_of(result) > before:
            seen[inputs] = moments, (result.shape, result.stride(), result.dtype)
        return result

    return call


def _is_whole(result: Any) -> bool:
    """Whether it is one tensor, that has a memory of its size."""
    if type(result) is not Tensor:
        return False
    return result.untyped_storage().nbytes() == result.numel() * result.itemsize


def _shapes(args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """What a call's memory depends on; None where that is more than shapes and plain values."""
    described: list[Any] = [*options]
    for value in (*args, *options.values()):
        if type(value) is Tensor and value.is_meta:
            described.append((value.shape, value.stride(), value.dtype))
        elif type(value) in PLAIN:
            described.append((type(value), value))
        else:
            return None
    return tuple(described)
