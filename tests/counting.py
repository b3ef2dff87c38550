"""Programs counted: a backend of torch.compile that runs what it is given, and counts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._dynamo import register_backend, reset

NAME = "counting"
_graphs: list[list[Any]] = []


def _count(graph: Any, inputs: Any) -> Callable[..., Any]:
    for own in _graphs:
        own.append(graph)
    forward: Callable[..., Any] = graph.forward
    return forward


register_backend(name=NAME, compiler_fn=_count)


@contextmanager
def counted() -> Iterator[list[Any]]:
    """The graphs that are compiled meanwhile, by the backend `NAME`, by a torch that has compiled
    nothing yet."""
    reset()
    own: list[Any] = []
    _graphs.append(own)
    try:
        yield own
    finally:
        _graphs.remove(own)
        reset()


def called(graph: Any) -> set[str]:
    """The names of what a graph calls."""
    return {str(getattr(node.target, "__name__", node.target)) for node in graph.graph.nodes}


__all__ = ["NAME", "called", "counted", "torch"]
