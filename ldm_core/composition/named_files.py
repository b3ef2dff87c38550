"""Files that the options in a recipe name, in full, so that a manifest's recipe means the same in
every folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.composition.added import is_more
from ldm_core.composition.recipe import LISTS, STAGES, Layer, is_ready_made
from ldm_core.contracts.files import NAMES_FILE, in_full, is_there, parts_of, with_full_paths
from ldm_core.plugins.registry import Registry

KEY = "path"
"""Under which a table in an option names a file."""


def in_full_everywhere(layer: Layer, registry: Registry) -> Layer:
    """A layer whose choices of plugins name their files in full; ids of the Hub stay as they are.

    Args:
        layer: with names of plugins that there are.
    """
    changed = {key: _choice(key, layer[key], registry) for key in STAGES if key in layer}
    for key, kind in LISTS.items():
        if key in layer:
            changed[key] = [_choice(kind, choice, registry) for choice in layer[key]]
    return {**layer, **changed}


def _choice(kind: str, choice: Any, registry: Registry) -> Any:
    if not isinstance(choice, Mapping) or not isinstance(choice.get("name"), str):
        return choice
    if is_more(choice):
        return choice
    options = registry.find(kind, choice["name"]).options
    changed = dict(choice)
    for name in options.keys() & choice.keys():
        option, value = options[name], choice[name]
        if option.kind == "model" or NAMES_FILE in parts_of(option.annotation):
            if not is_ready_made(value):
                changed[name] = with_full_paths(value, True, (KEY,), _lasting)
        elif option.kind is not None and isinstance(value, list | tuple):
            changed[name] = [_choice(option.kind, entry, registry) for entry in value]
        elif option.kind is not None:
            changed[name] = _choice(option.kind, value, registry)
    return changed


def _lasting(name: str) -> str:
    return in_full(name) if is_there(name) else name
