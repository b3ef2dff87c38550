"""Autoencoders of videos that keep the frames before as a state of their own."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from torch import nn

_locks: WeakKeyDictionary[nn.Module, Lock] = WeakKeyDictionary()
_one_at_a_time = Lock()


def alone(module: nn.Module) -> Lock:
    """To be held while an autoencoder encodes or decodes, whatever asks it to: threads share its
    weights, and Wan's keeps the features of the frames before in the module while it goes through a
    video."""
    with _one_at_a_time:
        return _locks.setdefault(module, Lock())
