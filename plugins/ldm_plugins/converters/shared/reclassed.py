"""Layers of a copied module that do something more, under their own names and places.

A layer of another class is copied with its network, whatever is changed in the copy, and keeps its
name, its weights and what hooks are put on it; another `forward` on the layer itself would go on
calling the layers that it was made with.
"""

from __future__ import annotations

from functools import cache
from typing import Any


def reclass(layer: Any, mixin: type) -> None:
    """Let a layer be of its own class with a mixin before it. The layer is one's own copy."""
    layer.__class__ = _mixed(mixin, type(layer))


@cache
def _mixed(mixin: type, own: type) -> type:
    return type(own.__name__, (mixin, own), {"__module__": own.__module__})
