"""Whether what a part needs is installed."""

from __future__ import annotations

from importlib.util import find_spec


def is_there(module: str) -> bool:
    """Whether a module can be imported, of whose package nobody knows whether that is there."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
