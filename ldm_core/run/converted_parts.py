"""Which parts of a model another package's converter made, or left otherwise than it found them."""

from __future__ import annotations

from collections.abc import MutableMapping
from weakref import WeakKeyDictionary

from torch import nn

from ldm_core.contracts import Model, Part

_WHOSE: MutableMapping[Part, str] = WeakKeyDictionary()


def note_converted(made: Model, given: Model, whose: str) -> None:
    """Keep whose converter made those parts of a model that are not as they were.

    Args:
        whose: the converter and its package, in words.
    """
    for name, part in made.parts.items():
        if part is not given.parts.get(name) and isinstance(part.module, nn.Module):
            _WHOSE[part] = whose


def converted_by(part: Part) -> str | None:
    """Whose converter left a part as it is, in words; None where no other package's did."""
    return _WHOSE.get(part) if isinstance(part.module, nn.Module) else None
