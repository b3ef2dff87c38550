"""The index of a model that exists only as a modular pipeline of Diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODULAR_INDEX = "modular_model_index.json"
HINT = "type_hint"
"""Key of a component's [library, class] beside where it is read from."""


def as_plain_index(index: Mapping[str, Any]) -> dict[str, Any]:
    """A ``modular_model_index.json`` as the ``model_index.json`` that says the same.

    An entry of a component is ``[library, class, {"type_hint": [library, class], ...}]``, where the
    first two are null of one that was not loaded when the file was written. From which repository
    and folder it was read then is left out: here a component lies in the folder of its name.
    """
    return {name: _plain(entry) for name, entry in index.items()}


def _plain(entry: Any) -> Any:
    if not isinstance(entry, list | tuple) or len(entry) != 3 or not isinstance(entry[2], Mapping):
        return entry
    library, cls, spec = entry
    hint = spec.get(HINT)
    if cls is None and isinstance(hint, list | tuple) and len(hint) == 2:
        return list(hint)
    return [library, cls]
