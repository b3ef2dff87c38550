"""What the interpreter tells of itself (PEP 578), heard for a while: its hooks stay for ever."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Listener = Callable[[str, tuple[Any, ...]], None]

_listeners: list[Listener] = []
_hooked: list[bool] = []


@contextmanager
def audited(listener: Listener) -> Iterator[None]:
    """Have each event told to a listener, which may raise to forbid it."""
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(_tell)
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _tell(event: str, arguments: tuple[Any, ...]) -> None:
    for listener in _listeners:
        listener(event, arguments)
