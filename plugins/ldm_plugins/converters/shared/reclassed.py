"""Layers of a copied module that do something more, under their own names and places.

A layer of another class is copied with its network, whatever is changed in the copy, and keeps its
name, its weights and what hooks are put on it; another `forward` on the layer itself would go on
calling the layers that it was made with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ldm_core.contracts import Converter
from ldm_core.errors import LdmError

_classes: dict[tuple[type, type], type] = {}


def reclass(layer: Any, mixin: type) -> None:
    """Let a layer be of its own class with a mixin before it. The layer is one's own copy."""
    layer.__class__ = with_mixin(mixin, type(layer))


def with_mixin(mixin: type, own: type) -> type:
    """The class of a layer with a mixin before it."""
    if (mixin, own) not in _classes:
        names = {"__module__": own.__module__}
        _classes[mixin, own] = type(own.__name__, (mixin, own), names)
    return _classes[mixin, own]


def parted(cls: type) -> tuple[type | None, Any]:
    """What a layer of that class does more, where it does, and the layer's class without it."""
    return next((pair for pair, made in _classes.items() if made is cls), (None, cls))


def check_layers_are_called(name: str, others: Sequence[Converter]) -> None:
    """See that no other converter leaves layers that do something more without effect.

    Args:
        name: of the converter whose layers they are.
    Raises:
        LdmError: one computes the network by a program of its own.
    """
    for other in others:
        if other.whole_program:
            raise LdmError(
                f"the converter '{name}' works within the network's layers, and another one "
                f"({type(other).__name__}) computes the network by a program of its own.",
                "leave one of the two out.",
            )
