"""A program of our own that makes one run and ends: what it may spare, which a library may not."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ldm_core.plugins.registry import Plugin

_fresh = False
_chosen: tuple[Plugin, ...] | None = None


def begins() -> None:
    """Say that a program of our own begins; one that has torch already does other things too."""
    global _fresh
    _fresh = "torch" not in sys.modules


def makes_only(plugins: Sequence[Plugin]) -> None:
    """Say which plugins the program runs, once it is sure that it runs no others."""
    global _chosen
    _chosen = tuple(plugins) if _fresh else None


def may_do_more() -> None:
    """Say that others may run after all."""
    global _chosen
    _chosen = None


def only() -> tuple[Plugin, ...] | None:
    """All plugins that run in this process; None where others may."""
    return _chosen


@contextmanager
def places_alone() -> Iterator[None]:
    """Meanwhile frames are described by their file and line, and not by the code there too: torch
    asks for the former of a hundred functions while it is imported, and for each all modules would
    be gone through to find the latter."""
    full = inspect.getframeinfo

    def place(frame: Any, context: int = 1) -> inspect.Traceback:
        return full(frame, 0)

    inspect.getframeinfo = place
    try:
        yield
    finally:
        inspect.getframeinfo = full


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the search for garbage, which finds none while modules are imported and takes a fifth
    of the time. In a program of our own nothing of what is there is searched later either."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if _fresh:
            gc.freeze()
        gc.enable()
